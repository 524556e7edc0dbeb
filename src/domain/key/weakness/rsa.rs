//! Weak RSA moduli: not a product of two large primes that are far apart.

use std::sync::LazyLock;

use num_bigint::BigUint;

use super::Weakness;

/// Trial division goes up to this.
const DIVISORS_BELOW: usize = 1 << 16;
/// Steps of Fermat's method.
const FERMAT_ROUNDS: usize = 100;
/// The highest power that is tested for. A modulus of 4096 bits that is a higher power is one of a
/// number that no generator would take for a prime.
const POWERS: [u32; 4] = [2, 3, 5, 7];
/// The primes of the fingerprint (Nemec and others, The Return of Coppersmith's Attack, 2017).
const FINGERPRINT_PRIME_MAX: u64 = 167;
/// The generator of the primes that the faulty library makes.
const FINGERPRINT_GENERATOR: u64 = 65_537;

pub(super) fn weakness(modulus: &[u8]) -> Option<Weakness> {
    let modulus = BigUint::from_bytes_be(modulus);
    if has_small_divisor(&modulus) {
        Some(Weakness::SmallDivisor)
    } else if POWERS.into_iter().any(|power| modulus.nth_root(power).pow(power) == modulus) {
        Some(Weakness::OnePrime)
    } else if is_close(&modulus) {
        Some(Weakness::ClosePrimes)
    } else if has_fingerprint(&modulus) {
        Some(Weakness::Roca)
    } else if is_prime(&modulus) {
        Some(Weakness::OnePrime)
    } else {
        None
    }
}

/// Small primes in groups whose product fits 64 bits, so that one division tests a whole group.
static DIVISORS: LazyLock<Vec<(u64, Vec<u64>)>> = LazyLock::new(|| {
    let mut products: Vec<(u64, Vec<u64>)> = Vec::new();
    for prime in small_primes() {
        match products.last_mut() {
            Some((product, primes)) if product.checked_mul(prime).is_some() => {
                *product *= prime;
                primes.push(prime);
            }
            _ => products.push((prime, vec![prime])),
        }
    }
    products
});

/// All primes below [`DIVISORS_BELOW`] (Eratosthenes).
fn small_primes() -> impl Iterator<Item = u64> {
    let mut composite = vec![false; DIVISORS_BELOW];
    let primes: Vec<usize> = (2..DIVISORS_BELOW)
        .filter(|number| {
            if composite[*number] {
                return false;
            }
            (number * number..DIVISORS_BELOW).step_by(*number).for_each(|n| composite[n] = true);
            true
        })
        .collect();
    primes.into_iter().map(|prime| prime as u64)
}

fn has_small_divisor(modulus: &BigUint) -> bool {
    DIVISORS.iter().any(|(product, primes)| {
        let rest = remainder(modulus, *product);
        primes.iter().any(|prime| rest.is_multiple_of(*prime))
    })
}

/// The remainder of a division by a number of one digit.
fn remainder(number: &BigUint, divisor: u64) -> u64 {
    number.iter_u64_digits().rev().fold(0, |rest, digit| {
        let rest = (u128::from(rest) << 64 | u128::from(digit)) % u128::from(divisor);
        u64::try_from(rest).unwrap_or_default()
    })
}

/// Fermat's factorisation: looks for a and b with n = a² - b², starting with a at the square root.
fn is_close(modulus: &BigUint) -> bool {
    let mut a = modulus.sqrt() + 1_u8;
    let mut rest = &a * &a - modulus;
    (0..FERMAT_ROUNDS).any(|_| {
        let is_found = is_square(&rest);
        rest += &a + &a + 1_u8;
        a += 1_u8;
        is_found
    })
}

/// Whether a number is a square. Most non-squares are recognised by their remainders (H. Cohen, A
/// Course in Computational Algebraic Number Theory, 1.7.2).
fn is_square(number: &BigUint) -> bool {
    let may_be = [64, 63, 65, 11].into_iter().all(|modulus| {
        let rest = remainder(number, modulus);
        (0..modulus).any(|root| root * root % modulus == rest)
    });
    may_be && {
        let root = number.sqrt();
        &root * &root == *number
    }
}

/// Whether, modulo each of the small primes, the modulus is a power of the generator.
fn has_fingerprint(modulus: &BigUint) -> bool {
    small_primes().skip(1).take_while(|prime| *prime <= FINGERPRINT_PRIME_MAX).all(|prime| {
        let rest = remainder(modulus, prime);
        let generator = FINGERPRINT_GENERATOR % prime;
        let powers = std::iter::successors(Some(1), |power| Some(power * generator % prime));
        powers.take(usize::try_from(prime).unwrap_or_default()).any(|power| power == rest)
    })
}

/// Fermat's test to base 2: no product of two random primes passes it.
fn is_prime(modulus: &BigUint) -> bool {
    BigUint::from(2_u8).modpow(&(modulus - 1_u8), modulus) == BigUint::from(1_u8)
}
