//! The operator's deny list of public keys: SHA-256 over each `SubjectPublicKeyInfo`.

/// Longest list, in keys of 32 octets. No published list is as long.
const LISTED_KEYS_MAX: usize = 2_000_000;
/// Longest file: that many lines, with comments.
pub const LISTED_OCTETS_MAX: u64 = 160 * 1_024 * 1_024;
/// Number of problems that are reported one by one.
const PROBLEMS_MAX: usize = 20;

/// The list, sorted.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct ListedKeys(Vec<[u8; 32]>);

impl ListedKeys {
    /// Reads one SHA-256 in 64 hexadecimal digits per line. Blank lines and lines that begin with
    /// `#` are skipped.
    ///
    /// # Errors
    /// A message with the line number for each line that is something else.
    pub fn read(text: &str) -> Result<Self, Vec<String>> {
        let (mut keys, mut problems, mut more) = (Vec::new(), Vec::new(), 0_usize);
        for (index, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            match data_encoding::HEXLOWER_PERMISSIVE.decode(line.as_bytes()) {
                Ok(octets) if octets.len() == 32 => {
                    let mut key = [0; 32];
                    key.copy_from_slice(&octets);
                    keys.push(key);
                }
                _ if problems.len() < PROBLEMS_MAX => {
                    problems.push(format!("line {} is not 64 hexadecimal digits", index + 1));
                }
                _ => more += 1,
            }
        }
        if more > 0 {
            problems.push(format!("{more} more lines are not 64 hexadecimal digits"));
        }
        if keys.len() > LISTED_KEYS_MAX {
            problems.push(format!("{} keys are more than {LISTED_KEYS_MAX}", keys.len()));
        }
        if !problems.is_empty() {
            return Err(problems);
        }
        keys.sort_unstable();
        keys.dedup();
        Ok(Self(keys))
    }

    /// Whether a key is on it.
    pub fn has(&self, spki_sha256: &[u8; 32]) -> bool {
        self.0.binary_search(spki_sha256).is_ok()
    }
}

impl std::fmt::Debug for ListedKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "ListedKeys({})", self.0.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_is_read_whole_or_its_lines_are_named() {
        let (one, two) = ("00".repeat(32), "Ff".repeat(32));
        let list = ListedKeys::read(&format!("# a comment\n{two}\r\n\n  {one} \n{one}\n")).unwrap();
        assert!(list.has(&[0; 32]) && list.has(&[0xFF; 32]) && !list.has(&[1; 32]));
        let problems = ListedKeys::read(&format!("{one}\nhello\n{}\n", &one[1..])).unwrap_err();
        assert_eq!(problems.len(), 2);
        assert!(problems[0].starts_with("line 2 ") && problems[1].starts_with("line 3 "));
        let many = ListedKeys::read(&"x\n".repeat(1_000)).unwrap_err();
        assert_eq!(many.len(), PROBLEMS_MAX + 1);
        assert!(!ListedKeys::read("").unwrap().has(&[0; 32]));
    }
}
