//! The settings for initialising a PKCS#11 module and logging in.

use std::collections::BTreeMap;

use super::{Check, raw::RawUserType};
use crate::hsm::{TokenConfig, TokenUser};

/// `CKU_USER`. The security officer (0) and `CKU_CONTEXT_SPECIFIC` (2) are refused, because signing needs
/// neither.
const NORMAL_USER: i64 = 1;

impl Check<'_> {
    /// Refuses NUL, because the module reads the arguments as C strings.
    pub(super) fn module_arguments(&mut self, place: &str, raw: Option<String>) -> Option<String> {
        if raw.as_ref().is_some_and(|text| text.contains('\0')) {
            self.problem(format!("{place}: module_arguments has a NUL"));
        }
        raw
    }

    pub(super) fn user(&mut self, place: &str, raw: Option<RawUserType>) -> TokenUser {
        let number = match raw {
            None => NORMAL_USER,
            Some(RawUserType::Name(name)) if name == "user" => NORMAL_USER,
            Some(RawUserType::Number(number)) => number,
            Some(RawUserType::Name(name)) => {
                self.problem(format!("{place}: user_type is '{name}', not \"user\" or a number"));
                NORMAL_USER
            }
        };
        match (number, u32::try_from(number)) {
            (NORMAL_USER, _) => TokenUser::Normal,
            (3.., Ok(vendor)) => TokenUser::Vendor(vendor),
            (_, _) => {
                self.problem(format!(
                    "{place}: user_type is {number}, not 1 or 3 to {}: no key is used by others",
                    u32::MAX
                ));
                TokenUser::Normal
            }
        }
    }
}

/// Finds configured names that lead to the same token, as far as the configuration shows. Maps each later name
/// to the first one.
pub(super) fn same_tokens(tokens: &[TokenConfig]) -> BTreeMap<String, String> {
    let mut same = BTreeMap::new();
    for (index, token) in tokens.iter().enumerate() {
        if let Some(earlier) = tokens[..index].iter().find(|earlier| is_same(earlier, token)) {
            let first = same.get(&earlier.name).unwrap_or(&earlier.name).clone();
            same.insert(token.name.clone(), first);
        }
    }
    same
}

fn is_same(one: &TokenConfig, other: &TokenConfig) -> bool {
    if one.label != other.label {
        return false;
    }
    if let (Some(one), Some(other)) = (&one.serial, &other.serial) {
        return one == other;
    }
    let module = |token: &TokenConfig| token.module.canonicalize().ok();
    module(one) == module(other)
        && one.module_arguments == other.module_arguments
        && one.environment == other.environment
}
