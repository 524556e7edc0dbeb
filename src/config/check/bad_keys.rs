//! `issuance.bad_keys`.

use std::{fs::File, io::Read};

use super::Check;
use crate::domain::key::{LISTED_OCTETS_MAX, ListedKeys};

impl Check<'_> {
    /// Reads the keys in the file, if one is configured.
    pub(super) fn bad_keys(&mut self, file: Option<&str>) -> ListedKeys {
        const SETTING: &str = "issuance.bad_keys";
        let Some(file) = file else { return ListedKeys::default() };
        let path = self.directory.join(file);
        let mut text = String::new();
        // Read one octet more than the limit, to notice a longer file.
        let read = File::open(&path)
            .and_then(|file| file.take(LISTED_OCTETS_MAX + 1).read_to_string(&mut text));
        match read {
            Err(error) => self.problem(format!("{SETTING}: {}: {error}", path.display())),
            Ok(octets) if octets as u64 > LISTED_OCTETS_MAX => self.problem(format!(
                "{SETTING}: {} has more than {LISTED_OCTETS_MAX} octets",
                path.display()
            )),
            Ok(_) => match ListedKeys::read(&text) {
                Ok(keys) => return keys,
                Err(problems) => {
                    for problem in problems {
                        self.problem(format!("{SETTING}: {}: {problem}", path.display()));
                    }
                }
            },
        }
        ListedKeys::default()
    }
}
