//! Paths of resources and of keys: what is accepted reads the same again.
#![no_main]

use chancery::domain::path::{KeyPath, ResourcePath};

libfuzzer_sys::fuzz_target!(|text: &str| {
    if let Ok(path) = ResourcePath::parse(text) {
        assert_eq!(path.as_str(), text);
        assert!(path.is_at_or_under(&path));
    }
    if let Ok(path) = KeyPath::parse(text) {
        assert_eq!(path.as_str(), text);
        assert_eq!(KeyPath::of(&path.kms(), &path.id()), path);
    }
});
