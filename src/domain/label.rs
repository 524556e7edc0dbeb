//! Templates of key labels, and whether two KMS services can produce the same label.

use std::collections::HashMap;

use super::path::{KeyPath, PathElement, ResourcePath};

/// A key id to probe templates with. It is unlikely as part of a real name.
const KEY_PROBE: &str = "__chancery-key-probe__";

/// A label with the placeholders `{org}`, `{tenant}`, `{kms}` and `{key}`; `{tenant}` is the tenant
/// elements joined by `.`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LabelTemplate(Vec<Piece>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    Text(String),
    FullPath,
    Organisation,
    Tenant,
    Kms,
    Key,
}

impl LabelTemplate {
    /// # Errors
    /// A message that names the unknown placeholder, or says that `{key}` is missing, because all
    /// keys would have one label then.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut pieces = Vec::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once('{') {
            let (name, after) = after
                .split_once('}')
                .ok_or_else(|| format!("label template '{text}': '{{' without '}}'"))?;
            if !before.is_empty() {
                pieces.push(Piece::Text(before.to_owned()));
            }
            pieces.push(match name {
                "org" => Piece::Organisation,
                "tenant" => Piece::Tenant,
                "kms" => Piece::Kms,
                "key" => Piece::Key,
                other => {
                    return Err(format!(
                        "label template '{text}': {{{other}}} is not one of {{org}}, {{tenant}}, \
                         {{kms}}, {{key}}"
                    ));
                }
            });
            rest = after;
        }
        if !rest.is_empty() {
            pieces.push(Piece::Text(rest.to_owned()));
        }
        if !pieces.contains(&Piece::Key) {
            return Err(format!("label template '{text}' needs {{key}}"));
        }
        Ok(Self(pieces))
    }

    /// The key of `kms` whose label this is, if any (the inverse of `label_of`).
    pub fn key_of(&self, kms: &ResourcePath, label: &str) -> Option<PathElement> {
        // The key's id is what is left between the template's prefix and suffix.
        let probe = PathElement::parse(KEY_PROBE).ok()?;
        let made = self.label_of(&KeyPath::of(kms, &probe));
        let (before, _) = made.split_once(KEY_PROBE)?;
        let after = made.rsplit(KEY_PROBE).next()?;
        let middle = label.strip_prefix(before)?.strip_suffix(after)?;
        let id = PathElement::parse(middle).ok()?;
        (self.label_of(&KeyPath::of(kms, &id)) == label).then_some(id)
    }

    /// The label of a key.
    pub(super) fn label_of(&self, key: &KeyPath) -> String {
        let (above, kms) = key.kms_text().rsplit_once('.').unwrap_or(("", key.kms_text()));
        let (organisation, tenant) = above.split_once('.').unwrap_or((above, ""));
        self.0
            .iter()
            .map(|piece| match piece {
                Piece::Text(text) => text.as_str(),
                Piece::FullPath => key.as_str(),
                // A KMS with a path of one element counts as its own organisation.
                Piece::Organisation if organisation.is_empty() => kms,
                Piece::Organisation => organisation,
                Piece::Tenant => tenant,
                Piece::Kms => kms,
                Piece::Key => key.id_text(),
            })
            .collect()
    }
}

impl LabelTemplate {
    /// The pattern of all labels that the template makes for a KMS.
    pub(super) fn pattern(&self, kms: &ResourcePath) -> LabelPattern {
        // With {key} twice, the pattern allows different ids in both places, so it has more labels
        // than the template makes. That errs on the safe side.
        let Ok(probe) = PathElement::parse(KEY_PROBE) else { return LabelPattern(Vec::new()) };
        let made = self.label_of(&KeyPath::of(kms, &probe));
        let mut atoms = Vec::new();
        for (index, text) in made.split(KEY_PROBE).enumerate() {
            if index > 0 {
                atoms.extend([Atom::One, Atom::More]);
            }
            atoms.extend(text.chars().map(Atom::Is));
        }
        LabelPattern(atoms)
    }
}

impl Default for LabelTemplate {
    /// The full key path.
    fn default() -> Self {
        Self(vec![Piece::FullPath])
    }
}

/// A pattern of labels: fixed characters, and a wildcard for each key id.
pub(super) struct LabelPattern(Vec<Atom>);

#[derive(Clone, Copy)]
enum Atom {
    /// This character.
    Is(char),
    /// One character of an id.
    One,
    /// Any number of characters of an id.
    More,
}

/// Limit of the search for a common label, in pairs of positions. Beyond it two patterns count as
/// overlapping; no real patterns are that long.
const PLACES_MAX: usize = 1 << 20;

impl LabelPattern {
    /// One label and no other.
    pub(super) fn exactly(label: &str) -> Self {
        Self(label.chars().map(Atom::Is).collect())
    }

    /// Finds a label that both patterns match, if there is one.
    pub(super) fn common(&self, other: &Self) -> Option<String> {
        // A graph search over pairs of positions in both patterns. An edge consumes one character
        // that both accept, or none. `reached` keeps the edge to each pair, to spell out the label.
        let mut reached = HashMap::from([((0, 0), None)]);
        let mut open = vec![(0, 0)];
        while let Some((one, two)) = open.pop() {
            if (one, two) == (self.0.len(), other.0.len()) || reached.len() > PLACES_MAX {
                return Some(spelt(&reached, (one, two)));
            }
            let (first, second) = (self.0.get(one), other.0.get(two));
            let mut next = |to, character| {
                reached.entry(to).or_insert_with(|| {
                    open.push(to);
                    Some(((one, two), character))
                });
            };
            if matches!(first, Some(Atom::More)) {
                next((one + 1, two), None);
            }
            if matches!(second, Some(Atom::More)) {
                next((one, two + 1), None);
            }
            if let (Some(first), Some(second)) = (first, second)
                && let Some(character) = first.meets(*second)
            {
                let after = |place, atom: &Atom| place + usize::from(!matches!(atom, Atom::More));
                next((after(one, first), after(two, second)), Some(character));
            }
        }
        None
    }
}

impl Atom {
    /// A character that both accept.
    fn meets(self, other: Self) -> Option<char> {
        match (self, other) {
            (Self::Is(one), Self::Is(two)) => (one == two).then_some(one),
            (Self::Is(one), Self::One | Self::More) | (Self::One | Self::More, Self::Is(one)) => {
                PathElement::parse(one.encode_utf8(&mut [0; 4])).is_ok().then_some(one)
            }
            (Self::One | Self::More, Self::One | Self::More) => Some('x'),
        }
    }
}

/// A pair of positions.
type Places = (usize, usize);

/// Spells out the characters on the way to a pair of positions.
fn spelt(reached: &HashMap<Places, Option<(Places, Option<char>)>>, to: Places) -> String {
    let mut characters = Vec::new();
    let mut place = to;
    while let Some(Some((before, character))) = reached.get(&place) {
        characters.extend(*character);
        place = *before;
    }
    characters.iter().rev().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(text: &str) -> ResourcePath {
        ResourcePath::parse(text).unwrap()
    }

    #[test]
    fn a_label_is_the_path_the_template_or_the_tables_word() {
        let key = KeyPath::parse("acme.dmv.north.kms.iaca").unwrap();
        let template = LabelTemplate::parse("{org}/{tenant}/{kms}:{key}!").unwrap();
        assert_eq!(template.label_of(&key), "acme/dmv.north/kms:iaca!");
        assert_eq!(LabelTemplate::default().label_of(&key), key.as_str());
        for template in [template, LabelTemplate::default()] {
            let found = template.key_of(&key.kms(), &template.label_of(&key));
            assert_eq!(found.as_ref(), Some(&key.id()));
            assert_eq!(template.key_of(&key.kms(), "another"), None);
        }
        for bad in ["{org}", "{nope}{key}", "{key", ""] {
            assert!(LabelTemplate::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn two_patterns_have_a_label_in_common_exactly_when_some_keys_have_one_label() {
        let full = "{org}.{tenant}.{kms}.{key}";
        for (one, at, other, other_at, common) in [
            // The full path belongs to one KMS, however tenants nest.
            (full, "a.b.kms", full, "a.b.kms2", None),
            (full, "a.b.kms", full, "a.b.c.kms", None),
            (full, "a.b.c", full, "a.b", None),
            (full, "a.b.kms", full, "c.b.kms", None),
            (
                "{org}/{tenant}/{kms}/{key}",
                "a.b.kms",
                "{org}/{tenant}/{kms}/{key}",
                "a.c.kms",
                None,
            ),
            // What a template leaves out, two may have alike.
            ("{tenant}/{key}", "a.b.kms", "{tenant}/{key}", "c.b.kms", Some("b/x")),
            ("{org}/{kms}/{key}", "a.b.kms", "{org}/{kms}/{key}", "a.c.kms", Some("a/kms/x")),
            ("{key}", "a.b.kms", "{key}", "c.d.kms", Some("x")),
            ("{org}/{tenant}/{key}", "a.b.k1", "{org}/{tenant}/{key}", "a.b.k2", Some("a/b/x")),
            // Parts that run into each other, or into the key's id.
            (
                "{org}{tenant}{kms}{key}",
                "a.bc.d",
                "{org}{tenant}{kms}{key}",
                "ab.c.d",
                Some("abcdx"),
            ),
            (
                "{org}-{tenant}-{kms}-{key}",
                "a.b.k",
                "{org}-{tenant}-{kms}-{key}",
                "a.b.k-k",
                Some("a-b-k-k-x"),
            ),
            ("{key}-{kms}", "a.b.k", "{key}-{kms}", "a.b.k-k", Some("x-k-k")),
            ("a{key}/foo", "o.t.k", "ab/f{key}", "o.t.k2", Some("ab/foo")),
            ("{key}.{key}", "a.b.k", "{org}.{key}", "q.b.k", Some("q.x")),
            // Another's full path.
            ("{tenant}.{kms}.{key}", "o.a.kms", full, "a.kms", None),
            ("{org}.{kms}.{key}", "a.t.kms", "{org}.{kms}.{key}", "a.kms", Some("a.kms.x")),
            ("{kms}:{key}", "a.b.kms", "{kms}/{key}", "a.b.kms", None),
            ("a/{key}/b", "a.b.kms", "a/{key}", "a.b.kms", None),
        ] {
            let pattern = |text: &str, at| LabelTemplate::parse(text).unwrap().pattern(&path(at));
            let (one, other) = (pattern(one, at), pattern(other, other_at));
            assert_eq!(one.common(&other).is_some(), common.is_some(), "{at} {other_at}");
            assert_eq!(other.common(&one).is_some(), common.is_some(), "{at} {other_at}");
            if let Some(label) = one.common(&other) {
                for pattern in [&one, &other] {
                    assert!(pattern.common(&LabelPattern::exactly(&label)).is_some(), "{label}");
                }
                assert_eq!(label.len(), common.unwrap().len(), "{label}");
            }
        }
        let table = LabelPattern::exactly("a.b.kms.root");
        let template = LabelTemplate::default();
        assert!(template.pattern(&path("a.b.kms")).common(&table).is_some());
        assert!(template.pattern(&path("a.b")).common(&table).is_none());
    }
}
