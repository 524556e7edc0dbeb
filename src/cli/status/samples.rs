//! Reads the text of `/metrics` as far as our own daemon writes it.

use std::collections::BTreeMap;

/// All samples of a page.
pub(super) struct Samples(Vec<Sample>);

struct Sample {
    name: String,
    labels: BTreeMap<String, String>,
    value: f64,
}

impl Samples {
    /// Takes what can be read; a daemon of another version may say more.
    pub(super) fn read(page: &str) -> Self {
        Self(page.lines().filter(|line| !line.starts_with('#')).filter_map(sample).collect())
    }

    /// The value of the only sample, or the sum of all that have these labels.
    pub(super) fn sum(&self, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
        let mut values = self.with(name, labels).map(|sample| sample.value).peekable();
        values.peek()?;
        Some(values.sum())
    }

    /// The values of one label, and of the samples that have it.
    pub(super) fn by<'a>(
        &'a self,
        name: &'a str,
        label: &'a str,
        labels: &'a [(&'a str, &'a str)],
    ) -> impl Iterator<Item = (&'a str, f64)> {
        self.with(name, labels)
            .filter_map(move |sample| Some((sample.labels.get(label)?.as_str(), sample.value)))
    }

    /// The value of a label that is 1 where others are 0.
    pub(super) fn word(&self, name: &str, label: &str, labels: &[(&str, &str)]) -> Option<String> {
        let found = self.by(name, label, labels).find(|(_, value)| *value > 0.0);
        found.map(|(word, _)| word.to_owned())
    }

    fn with<'a>(
        &'a self,
        name: &'a str,
        labels: &'a [(&'a str, &'a str)],
    ) -> impl Iterator<Item = &'a Sample> {
        self.0.iter().filter(move |sample| {
            let has = |(label, value): &(&str, &str)| {
                sample.labels.get(*label).is_some_and(|given| given == value)
            };
            sample.name == name && labels.iter().all(has)
        })
    }
}

fn sample(line: &str) -> Option<Sample> {
    let (series, value) = line.rsplit_once(' ')?;
    let (name, labels) = match series.split_once('{') {
        Some((name, rest)) => (name, read_labels(rest.strip_suffix('}')?)?),
        None => (series, BTreeMap::new()),
    };
    Some(Sample { name: name.to_owned(), labels, value: value.parse().ok()? })
}

/// `a="b",c="d"`, with `\\`, `\"` and `\n` within the quotes.
fn read_labels(text: &str) -> Option<BTreeMap<String, String>> {
    let mut labels = BTreeMap::new();
    let mut rest = text;
    while !rest.is_empty() {
        let (name, quoted) = rest.split_once("=\"")?;
        let mut value = String::new();
        let mut characters = quoted.char_indices();
        let end = loop {
            match characters.next()? {
                (at, '"') => break at,
                (_, '\\') => match characters.next()?.1 {
                    'n' => value.push('\n'),
                    other => value.push(other),
                },
                (_, other) => value.push(other),
            }
        };
        labels.insert(name.to_owned(), value);
        rest = &quoted[end + 1..];
        rest = rest.strip_prefix(',').unwrap_or(rest);
    }
    Some(labels)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: &str = "# HELP a_total A.\n# TYPE a_total counter\n\
        a_total{token=\"x\",outcome=\"signed\"} 3\na_total{token=\"x\",outcome=\"busy\"} 1\n\
        a_total{token=\"y\",outcome=\"signed\"} 5\n\
        state{token=\"x\",state=\"away\"} 0\nstate{token=\"x\",state=\"ready\"} 1\n\
        ends{subject=\"C=NL,CN=a \\\\\\\"b\\\\\\\" {c}\"} 2000000000\nsize 7\nbroken{ 1\nbroken x\n";

    #[test]
    fn samples_are_found_by_their_labels() {
        let samples = Samples::read(PAGE);
        assert_eq!(samples.sum("size", &[]), Some(7.0));
        assert_eq!(samples.sum("a_total", &[]), Some(9.0));
        assert_eq!(samples.sum("a_total", &[("token", "x")]), Some(4.0));
        assert_eq!(samples.sum("a_total", &[("token", "z")]), None);
        assert_eq!(samples.word("state", "state", &[("token", "x")]).as_deref(), Some("ready"));
        let signed: Vec<_> = samples.by("a_total", "token", &[("outcome", "signed")]).collect();
        assert_eq!(signed, [("x", 3.0), ("y", 5.0)]);
        let ends: Vec<_> = samples.by("ends", "subject", &[]).collect();
        assert_eq!(ends, [("C=NL,CN=a \\\"b\\\" {c}", 2e9)]);
    }
}
