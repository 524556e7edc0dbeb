//! Distinguished names of requests.

use super::text::{CharacterError, check_characters};

/// An ISO 3166-1 alpha-2 code that is assigned to a country.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Country([u8; 2]);

impl Country {
    /// Reads a code in upper case. A lower-case code is refused, not corrected.
    ///
    /// # Errors
    /// [`NameError::Country`] for everything but the 249 assigned codes.
    pub fn parse(text: &str) -> Result<Self, NameError> {
        match *text.as_bytes() {
            [first @ b'A'..=b'Z', second @ b'A'..=b'Z']
                if FOLLOWERS[usize::from(first - b'A')] & 1 << (second - b'A') != 0 =>
            {
                Ok(Self([first, second]))
            }
            _ => Err(NameError::Country(text.chars().take(8).collect())),
        }
    }

    /// The assigned codes.
    pub fn codes() -> impl Iterator<Item = &'static str> {
        ASSIGNED.split(' ')
    }

    /// The two letters.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

/// A name of one attribute per RDN. Encoded C, CN, ST, O, L, OU, in this order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DistinguishedName {
    /// countryName.
    pub country: Option<Country>,
    /// commonName.
    pub common_name: AttributeText,
    /// stateOrProvinceName.
    pub state_or_province: Option<AttributeText>,
    /// organizationName.
    pub organization: Option<AttributeText>,
    /// localityName.
    pub locality: Option<AttributeText>,
    /// organizationalUnitName.
    pub organizational_unit: Option<AttributeText>,
}

/// The text attributes of a name, each with the upper bound of RFC 5280, appendix A.1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AttributeKind {
    /// commonName, at most 64 characters.
    CommonName,
    /// organizationName, at most 64.
    Organization,
    /// organizationalUnitName, at most 64.
    OrganizationalUnit,
    /// stateOrProvinceName, at most 128.
    StateOrProvince,
    /// localityName, at most 128.
    Locality,
}

impl AttributeKind {
    /// The upper bound, in characters.
    pub fn characters_max(self) -> usize {
        match self {
            Self::CommonName | Self::Organization | Self::OrganizationalUnit => 64,
            Self::StateOrProvince | Self::Locality => 128,
        }
    }
}

/// The value of a text attribute: not blank, no white space around it, within its upper bound.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AttributeText(String);

impl AttributeText {
    /// # Errors
    /// [`NameError`] says which rule the text breaks.
    pub fn parse(kind: AttributeKind, text: &str) -> Result<Self, NameError> {
        if text.trim().is_empty() {
            return Err(NameError::Blank);
        }
        if text.trim() != text {
            return Err(NameError::Padded);
        }
        check_characters(text).map_err(NameError::Character)?;
        if text.chars().count() > kind.characters_max() {
            return Err(NameError::TooLong(kind.characters_max()));
        }
        Ok(Self(text.to_owned()))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Why a text cannot be a value in a name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// No assigned upper-case code.
    #[error("'{0}' is not an upper-case ISO 3166-1 alpha-2 code")]
    Country(String),
    /// Empty or white space only.
    #[error("must not be blank")]
    Blank,
    /// White space at an end.
    #[error("no leading or trailing white space")]
    Padded,
    /// A character that is invisible, or is displayed at another place.
    #[error("{0}")]
    Character(CharacterError),
    /// Over the upper bound.
    #[error("at most {0} characters")]
    TooLong(usize),
}

/// ISO 3166-1 alpha-2: the 249 officially assigned codes.
const ASSIGNED: &str = "AD AE AF AG AI AL AM AO AQ AR AS AT AU AW AX AZ BA BB BD BE BF BG BH BI BJ \
BL BM BN BO BQ BR BS BT BV BW BY BZ CA CC CD CF CG CH CI CK CL CM CN CO CR CU CV CW CX CY CZ DE DJ \
DK DM DO DZ EC EE EG EH ER ES ET FI FJ FK FM FO FR GA GB GD GE GF GG GH GI GL GM GN GP GQ GR GS GT \
GU GW GY HK HM HN HR HT HU ID IE IL IM IN IO IQ IR IS IT JE JM JO JP KE KG KH KI KM KN KP KR KW KY \
KZ LA LB LC LI LK LR LS LT LU LV LY MA MC MD ME MF MG MH MK ML MM MN MO MP MQ MR MS MT MU MV MW MX \
MY MZ NA NC NE NF NG NI NL NO NP NR NU NZ OM PA PE PF PG PH PK PL PM PN PR PS PT PW PY QA RE RO RS \
RU RW SA SB SC SD SE SG SH SI SJ SK SL SM SN SO SR SS ST SV SX SY SZ TC TD TF TG TH TJ TK TL TM TN \
TO TR TT TV TW TZ UA UG UM US UY UZ VA VC VE VG VI VN VU WF WS YE YT ZA ZM ZW";

/// For each first letter, a bit set of the second letters of the assigned codes.
const FOLLOWERS: [u32; 26] = {
    let (codes, mut bits, mut at) = (ASSIGNED.as_bytes(), [0; 26], 0);
    while at < codes.len() {
        bits[(codes[at] - b'A') as usize] |= 1 << (codes[at + 1] - b'A');
        at += 3;
    }
    bits
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_are_249_assigned_countries_and_no_others() {
        assert_eq!(ASSIGNED.split(' ').count(), 249);
        assert!(ASSIGNED.split(' ').all(|code| Country::parse(code).is_ok()));
        let letters = || (b'A'..=b'Z').map(char::from);
        let codes = letters().flat_map(|a| letters().map(move |b| format!("{a}{b}")));
        assert_eq!(codes.filter(|code| Country::parse(code).is_ok()).count(), 249);
        for bad in ["us", "Us", "UK", "XX", "ZZ", "EU", "", "U", "USA", "U ", "ÄÖ"] {
            assert!(Country::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn upper_bounds_count_characters_not_octets() {
        let parse = |text: &str| AttributeText::parse(AttributeKind::CommonName, text);
        assert!(parse(&"ß".repeat(64)).is_ok());
        assert_eq!(parse(&"ß".repeat(65)), Err(NameError::TooLong(64)));
        assert_eq!(parse(" \t"), Err(NameError::Blank));
        assert_eq!(parse("a "), Err(NameError::Padded));
        assert_eq!(parse("a\u{7}b"), Err(NameError::Character(CharacterError::Control)));
        assert_eq!(
            parse("a\u{202E}b").unwrap_err().to_string(),
            "U+202E is not allowed: it is a format character"
        );
    }
}
