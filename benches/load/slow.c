/* A PKCS#11 module around SoftHSM that is slow as told, as a real HSM is. For measurements only.
 *
 * $CHANCERY_SLOW_SIGN_US: microseconds that each signature takes longer.
 * $CHANCERY_SLOW_CALL_US: microseconds that each call on the way to a signature takes longer, as over
 * a network; a call that only asks for a length counts too.
 */
#include <dlfcn.h>
#include <stdlib.h>
#include <unistd.h>

typedef unsigned long rv;
typedef rv (*fn)();
struct list { unsigned char version[2]; fn functions[68]; };
enum { SIGN_INIT = 42, SIGN = 43 };

static struct list *real, slow;
static unsigned sign_us, call_us;

static rv sign_init(rv session, void *mechanism, rv key) {
    if (call_us) usleep(call_us);
    return real->functions[SIGN_INIT](session, mechanism, key);
}
static rv sign(rv session, void *data, rv length, void *to, rv *to_length) {
    if (call_us) usleep(call_us);
    if (to && sign_us) usleep(sign_us);
    return real->functions[SIGN](session, data, length, to, to_length);
}

static unsigned number(const char *name) {
    const char *text = getenv(name);
    return text ? strtoul(text, 0, 10) : 0;
}

rv C_GetFunctionList(struct list **to) {
    void *module = dlopen("/usr/lib/softhsm/libsofthsm2.so", RTLD_NOW);
    rv (*get)(struct list **) = (rv (*)(struct list **))dlsym(module, "C_GetFunctionList");
    rv result = get(&real);
    if (result) return result;
    sign_us = number("CHANCERY_SLOW_SIGN_US");
    call_us = number("CHANCERY_SLOW_CALL_US");
    slow = *real;
    slow.functions[SIGN_INIT] = sign_init;
    slow.functions[SIGN] = sign;
    *to = &slow;
    return 0;
}
