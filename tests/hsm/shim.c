/* A PKCS#11 module around SoftHSM that fails when told to. For tests only.
 *
 * $CHANCERY_SHIM/<Function> holds a hexadecimal CKR_ code: the next call of that function returns it,
 * once. $CHANCERY_SHIM/{logout,flip,hang}: the next C_SignInit logs the process out first, the next
 * C_Sign returns a signature with a wrong bit, every C_Sign blocks for as long as the file is there.
 * Calls are noted in $CHANCERY_SHIM/trace.
 */
#include <dlfcn.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

typedef unsigned long rv;
typedef rv (*fn)();
struct list { unsigned char version[2]; fn functions[68]; };
enum { INITIALIZE = 0, FINALIZE = 1, GET_TOKEN_INFO = 6, OPEN_SESSION = 12, CLOSE_SESSION = 13,
       LOGIN = 18, LOGOUT = 19, FIND_INIT = 26, SIGN_INIT = 42, SIGN = 43 };

static struct list *real, shim;

static void path_of(char *to, const char *name) {
    snprintf(to, 512, "%s/%s", getenv("CHANCERY_SHIM"), name);
}

static void note(const char *name) {
    char path[512];
    path_of(path, "trace");
    int file = open(path, O_WRONLY | O_CREAT | O_APPEND, 0600);
    dprintf(file, "%s\n", name);
    close(file);
}

/* Whether the file is there and this caller is the one who took it away. */
static int told(const char *name, rv *code) {
    char path[512], text[32] = "";
    path_of(path, name);
    int file = open(path, O_RDONLY);
    if (file < 0) return 0;
    if (read(file, text, 31) < 0) text[0] = 0;
    close(file);
    if (unlink(path) != 0) return 0;
    *code = strtoul(text, 0, 16);
    return 1;
}

#define FAILS(name) rv code; note(name); if (told(name, &code)) return code

static rv initialize(void *a) { FAILS("C_Initialize"); return real->functions[INITIALIZE](a); }
static rv finalize(void *a) { FAILS("C_Finalize"); return real->functions[FINALIZE](a); }
static rv token_info(rv slot, void *to) {
    FAILS("C_GetTokenInfo");
    return real->functions[GET_TOKEN_INFO](slot, to);
}
static rv open_session(rv slot, rv flags, void *a, void *b, rv *to) {
    FAILS("C_OpenSession");
    return real->functions[OPEN_SESSION](slot, flags, a, b, to);
}
static rv close_session(rv session) {
    FAILS("C_CloseSession");
    return real->functions[CLOSE_SESSION](session);
}
static rv login(rv session, rv user, void *pin, rv length) {
    FAILS("C_Login");
    return real->functions[LOGIN](session, user, pin, length);
}
static rv find_init(rv session, void *template, rv count) {
    FAILS("C_FindObjectsInit");
    return real->functions[FIND_INIT](session, template, count);
}
static rv sign_init(rv session, void *mechanism, rv key) {
    FAILS("C_SignInit");
    if (told("logout", &code)) real->functions[LOGOUT](session);
    return real->functions[SIGN_INIT](session, mechanism, key);
}
static rv sign(rv session, void *data, rv length, unsigned char *to, rv *to_length) {
    char path[512];
    path_of(path, "hang");
    while (access(path, F_OK) == 0) usleep(10000);
    FAILS("C_Sign");
    rv result = real->functions[SIGN](session, data, length, to, to_length);
    if (result == 0 && to && told("flip", &code)) to[*to_length - 1] ^= 1;
    return result;
}

rv C_GetFunctionList(struct list **to) {
    void *module = dlopen("/usr/lib/softhsm/libsofthsm2.so", RTLD_NOW);
    rv (*get)(struct list **) = (rv (*)(struct list **))dlsym(module, "C_GetFunctionList");
    rv result = get(&real);
    if (result) return result;
    shim = *real;
    shim.functions[INITIALIZE] = initialize;
    shim.functions[FINALIZE] = finalize;
    shim.functions[GET_TOKEN_INFO] = token_info;
    shim.functions[OPEN_SESSION] = open_session;
    shim.functions[CLOSE_SESSION] = close_session;
    shim.functions[LOGIN] = login;
    shim.functions[FIND_INIT] = find_init;
    shim.functions[SIGN_INIT] = sign_init;
    shim.functions[SIGN] = sign;
    *to = &shim;
    return 0;
}
