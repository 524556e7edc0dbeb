use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};

use super::*;
use crate::domain::{fixtures, key::KeyError};

/// Moduli of 2048 bits that are made as their names say; base64url.
const MODULI: &[(&str, Weakness, &str)] = &[
    (
        "neighbouring primes",
        Weakness::ClosePrimes,
        "ymJm5wYtxY0aCAZDsk6VRhQG_yMjAgT_cDf2U_0vT6UiCXV1_aj0ALWBOC0DEOYGJ_ftcRl1E8RGpcN0odKDeqD4xpMmLhP1NQ5IO4g4WKnkjW4D5gv040r2lvouVnfXaj8AkPVYYlnu8_wpMSFKXURVr2WoyYdDZ35wsXg2EdIAfhHxoONkEVi6XtknJ7_QykplxRG6ZlEwmyFYsk-gyNae4aHxV2JD7hYFFlUwwGKvQb4u8re7NxTpEkbfGJmkq6-8wvWqiXj_sIoSdK13Y0M1J_TmUOskYMb4-Xmr2HgXY9YDHeOFR1aqC6Hlx3NOpMnegBYf52T8s0o7AHfWPQ",
    ),
    (
        "primes that agree in half of their bits",
        Weakness::ClosePrimes,
        "7FfSnYFTTa-531kyMVd7n5f3zU8cD4F6QjAmLHxH5i0KjaRRwCmkL0i6h4v_EoMk6PDUcCtWveqSFUxex14KmGW74xh-alCgwY-HXHCqTCm9viZfP-UQvfFwXAg9p5hwYkF1T5DgSCeDSe9dVenyMnUfC27fTJY1k10o-h4tjH2R1nMT5JaXshv2iAr1sNgJF8O40AxyPGWk8zAOz22XMGbQsxS-1MEfOzlQVCrUXqNvpWR0bwOIj4Knyi-f7l-VgN-4u5yUIng4gpMsvEYIvYC1JTuAoLW-1uNjRZdcRJddSyJc-6QqJ0XyS7MQkzhpmgkiYRFDQnz5fd23zPSgdQ",
    ),
    (
        "primes that are found in round 91",
        Weakness::ClosePrimes,
        "uJwx2it6WarTzmmikD1kPbFyDz0IA0ubzeU2v2Mcc_P2ivydlX0S-d-DHZbR-ePz6IPZ8A_qv4AV1Ja6EmVOsao2A80AXkJnhCsq9rtTzITxvUKoxx8eAlteQ_GZ2_acwRMMTbbalQwVMq8EMW6cgPvQwRJEC1aJd2nvfiFhGSMluIDYoSzPt5NBFK_1nS9QmC1HrR9eYkK1FF4kfHSr5y6y3zCtnniPcWcwq4-usjPCfCh950FCvNGZ83zSk6sCh_w_fUiRP6zKcbDd83HhF644vEM4dDPQcwb-jqaOhGun9bhMPlJqz3iynW4E55EBCvVh-enX6FImRICDvbdyHQ",
    ),
    (
        "a square",
        Weakness::OnePrime,
        "uJwx2it6WarTzmmikD1kPbFyDz0IA0ubzeU2v2Mcc_P2ivydlX0S-d-DHZbR-ePz6IPZ8A_qv4AV1Ja6EmVOnKq5FxHezXJwWkX__IZV7QzjQGjckUJpvMEpvFIH0HF4BCEgTPo74OaGZDkowDpih0IVuJymbc5T2a9B8jz83jHsSteszD15H9fMOr12VRIKfwTCtqBUaEx-WwdDpI5-uIc2sweqsmbEuFzKq55GrpEPWRfEaZqc1MpAHKCgHPIEQxQbpINgV38D9d09K6__3jQ4VfklGGL5tBxMyshFZC6uNf06JzZ-Ai8_LO59jfowMZ1aXz-PKJNZkiJiJk7RmQ",
    ),
    (
        "a cube",
        Weakness::OnePrime,
        "2DSxewYWsRpjE9kkogKhi3Qokvy-zVASG5nuwGDTgh8-wYI4HZV3gQ757KANqik9a_6GmHJJQ91IWbf3WhPXuTFZjuTD8e4ENwFzdLOJQPYxwKzH7W5BRVOYjjLL69CsQe2wBqFd6YJjMN_99-84SZ3ea0c6CEw3iVBtSbRvb-DqhGB8ylbLjDw6FER37QYBGWvSsfzHLUwolgDqTneI9EcS1dgEvEZyobhsroKHa0MROr5WqhuUO__DX_xQCK3_z6zQXT6INt5sqE7jl55rytnxoMlhi0e0wKfZNW6UxbBsJVMyD9kdR8_MFs7uSuX9RiL9SSxq9VzTldd6ZRWmeQ",
    ),
    (
        "a prime",
        Weakness::OnePrime,
        "2ZJlHsKvzbsa22UCBZ2uD0zDxhgo-1CSYq5OsMY6tenAJf50I4-l_CtIaQN900dKb8MYP2J4cLbxogwjN-_yM-zZiMaB3lIc94CeIRUTOLB3jUOpch2n4yoY6Ctr84oFwdDsvJrufFU5lC4pMx00Wb65MMlQJlbRJ9uw51OIgrb7PcBx3XrBdDC6cMoPcUqVST6tFutAW7XIuv4Eiq-kaRx1Haxdo7FORZENa4ULr6l327CyycXc0S-jV9Kn_zwdD6vS9MBgXtKSYAU-LzHejiZTHtULNOXozkVY7FAhz7KlpZzYj8asy11uc8Az6wLsXeNYKD--rIoL-YvUBjKPTw",
    ),
    (
        "divisible by 3",
        Weakness::SmallDivisor,
        "wAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAHHFly5RMs72iarcHv1wG8KdE4SFi2-Gxdmk7kutiZuOB0HJd35FOcQP6yzYCTBFdUn4EHRpMHW2K_T1QT_KlQk_-4GOecI1UKqjitNYvkpMi4XHqQgK_AwABmgSbfuWOxcXOQV5NbaXT37YzIrnq6kwppYfDJZlRQIKY-J_w",
    ),
    (
        "divisible by the last prime below 65536",
        Weakness::SmallDivisor,
        "wAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAVkskAlkj-OdnU99l9i4w5is8hzxKR25MbRsPJocFlm6NCA8mOq5-ZIUGcMcWGqLiXr-79rNEtF7pb5qj-6WL4d92vyf1m8clrKF0eBcvYy3UQDa_MPBKghU58xYRgw5zg1mdrIfaHo1p20EiZMrNK7Y0qjwljaEncKlsZVveqQ",
    ),
    (
        "even",
        Weakness::SmallDivisor,
        "wAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAFQpe_CgWEEOOS9OyOyyy2pAnIbYBxXLXvfsfFRIbWPCr48s3dPdPH9WNJrK_3CQJZDPfvLtr6gaGu19QDjMFnsV1xPw7o1VkpP9Az3ktczxqg9DB0U-TwWlA6nKM45XFwwIFaayJC5FwRrHx3IjfSaOOum1ts1SWGi912g",
    ),
    (
        "two primes of the faulty library",
        Weakness::Roca,
        "rYEj6jpPCIdQaRtlL7c6TqLQencQeaay8aMgZzRr5x8gb040B6rfWW56iMRnAdN84-cLfm80FCVqkrSfNJQFUaFkmK156-eS3LJiBYLawX9Bn7INrjaxRBlowSF5NwNSMZpPfMqBR0YAujKpf9S7bFl0bh7Rji4Y-WitEkjG0gOwn12WVxkEiNYSv3F5Xr3GaeCeskfqCLXpQZmXeWPXQHU70SZFsTr5tL99IUvquz_gz51PdqPe4SwR7e24hGy0F-gTg_WSUCnjueyfNshRHwXtOyo6mquz7JySVCiBmQR9RsdC_qZ8UN3WGcfSs8lIpTfSew1945qOh-g-3bK1-Q",
    ),
];

fn rsa(modulus: &str) -> Result<PublicKey, KeyError> {
    PublicKey::from_rsa(&URL_SAFE_NO_PAD.decode(modulus).unwrap(), &[1, 0, 1])
}

#[test]
fn an_rsa_key_that_anybody_can_break_is_known_to_be_weak() {
    for (name, weakness, modulus) in MODULI {
        match rsa(modulus) {
            Ok(key) => assert_eq!(key.weakness(), Some(*weakness), "{name}"),
            // An even one is not even read.
            Err(error) => assert_eq!((*name, error), ("even", KeyError::Encoding)),
        }
    }
}

#[test]
fn a_key_that_was_made_well_has_no_weakness() {
    for key_type in KeyType::ALL {
        for _ in 0..4 {
            let key = fixtures::SoftwareKey::generate(key_type).public;
            assert_eq!(key.weakness(), None, "{key_type}");
        }
    }
}

#[test]
fn an_elliptic_key_that_is_guessed_is_known_to_be_weak() {
    use aws_lc_rs::agreement::{ECDH_P256, ECDH_P384, ECDH_P521, PrivateKey};
    // The orders of the curves, less 5 (FIPS 186-4, D.1.2).
    const ORDER_LESS_5: [&str; 3] = [
        "ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc63254c",
        "ffffffffffffffffffffffffffffffffffffffffffffffffc7634d81f4372ddf581a0db248b0a77aecec196accc5296e",
        "01fffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffa51868783bf2f966b7fcc0148f709a5d03bb5c9b8899c47aebb6fb71e91386404",
    ];
    let curves =
        [(KeyType::P256, &ECDH_P256), (KeyType::P384, &ECDH_P384), (KeyType::P521, &ECDH_P521)];
    for ((key_type, curve), order) in curves.into_iter().zip(ORDER_LESS_5) {
        let octets = key_type.coordinate_octets().unwrap();
        let key = |private: &[u8]| {
            let private = PrivateKey::from_private_key(curve, private).unwrap();
            let point = private.compute_public_key().unwrap();
            PublicKey::from_ec_point(key_type, point.as_ref()).unwrap()
        };
        for scalar in [1_u32, 2, 3, 15, 16, 17, 255] {
            let mut private = vec![0; octets - 4];
            private.extend(scalar.to_be_bytes());
            let weakness = key(&private).weakness();
            assert_eq!(weakness, Some(Weakness::SmallPrivateKey), "{key_type} {scalar}");
        }
        let negative = data_encoding::HEXLOWER.decode(order.as_bytes()).unwrap();
        assert_eq!(key(&negative).weakness(), Some(Weakness::SmallPrivateKey), "{key_type}");
    }
}

/// The modulus of testRSA4096 (RFC 9500, section 2.1).
const RFC_9500_4096: &str = "s4tJYOY75qjbqJqCl47x9jJE5Vd9jPWGFtXKV1nUnMjZNsM4qjy5sRHBSX5bUa9pLyYR5on3Z1SAwLD0w2VPQ6-F_oyK1zTgQqitoF_XZQjgC6D3VsNEO76DPqfRANT7Nn7r1gvbZIZ3_H3rlCRNrRr47tHGWBLAPnxz9_NY6UG8ZkWP97uXpJqYoRgH4CwaO5rTOlc64YDh_0Mq5VgMycq_q2AvMlvNoJfoe8em1040qH1gikP-suT_8fS452hqmEddtRpuvQgXKldBd0kkiyFVyLkG4NVA6Mso9MAK3J_kdYoaw2SrOeThVSiYVEQVP-7GrUxTSLLjj_VQ9fpYM5eTNzDICIG_Ee7o_jhtW1EoSamDmUOr89lyIHaXuOwkEaJhnVXKBCM8WiztxvKG2CnQ6Dcge3ZSmqJEhyEmjcAVC7ewfnMxOnE-WJW6rzrf-mA5WMVn-FzyWx2AondWow0aUKHkaY7amhIrsKp6YPfNImyxFlz8-cqDCmBswPsUh_JJ5eDHHIhibFcSgIHedsEjhLbUSLZ_DnEjru90qIWWA3R1VIPykKfeZkZeInsrFzGPikkFKwFF-6KDdyvCmltYEqzO46tigXAZ5UgH8oiXEre48wO6X-FH-cLzQ0q3A8HZRnNDgqCjU_Tgy76iaku_Ic6eteedR1fX3gJ_IOU";

#[test]
fn published_keys_and_points_of_small_order_are_known() {
    for key in [fixtures::first_key(), fixtures::second_key(), fixtures::ed25519()] {
        assert_eq!(key.weakness(), Some(Weakness::Published), "{key:?}");
    }
    assert_eq!(rsa(RFC_9500_4096).unwrap().weakness(), Some(Weakness::Published));
    for y in [1, 0xEC] {
        let mut point = if y == 1 { [0; 32] } else { [0xFF; 32] };
        point[0] = y;
        point[31] = if y == 1 { 0 } else { 0x7F };
        if let Ok(key) = PublicKey::from_ed25519(&point) {
            assert_eq!(key.weakness(), Some(Weakness::SmallOrder), "{y}");
        }
    }
}
