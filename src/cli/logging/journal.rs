//! Writes to the journal by its native protocol (<https://systemd.io/JOURNAL_NATIVE_PROTOCOL/>). Each field of an
//! event becomes a journal field, for programs. It is also in MESSAGE, because people and log forwarders read only
//! that.

use std::{
    fmt::{self, Debug, Write as _},
    io,
    os::unix::net::UnixDatagram,
    path::{Path, PathBuf},
};

use tracing::{
    Event, Level, Subscriber,
    field::{Field, Visit},
    span::{Attributes, Id, Record},
};
use tracing_subscriber::{Layer, layer::Context, registry::LookupSpan};

/// The socket of journald.
pub(super) const SOCKET: &str = "/run/systemd/journal/socket";
/// `SYSLOG_IDENTIFIER`.
const IDENTIFIER: &str = "chancery";
/// The longest value, MESSAGE included, because an entry must fit into one datagram. Longer ones are cut.
const VALUE_BYTES_MAX: usize = 4_096;
/// The field of tracing that has the message of an event.
const WORDS: &str = "message";

/// A layer of tracing that writes events to the journal.
pub(super) struct Journal {
    socket: UnixDatagram,
    path: PathBuf,
}

/// Names and values of the fields, in the order of the source.
#[derive(Default)]
struct Fields(Vec<(&'static str, String)>);

impl Journal {
    /// Connects to the socket of journald.
    ///
    /// # Errors
    /// The socket does not exist, or no process listens on it.
    pub(super) fn at(path: &Path) -> io::Result<Self> {
        let socket = UnixDatagram::unbound()?;
        // journald drops empty fields.
        socket.send_to(&[], path)?;
        Ok(Self { socket, path: path.to_owned() })
    }
}

impl<S: Subscriber + for<'span> LookupSpan<'span>> Layer<S> for Journal {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let mut fields = Fields::default();
        attributes.record(&mut fields);
        if let Some(span) = context.span(id) {
            span.extensions_mut().insert(fields);
        }
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        if let Some(span) = context.span(id)
            && let Some(fields) = span.extensions_mut().get_mut::<Fields>()
        {
            values.record(fields);
        }
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let mut fields = Fields::default();
        event.record(&mut fields);
        let mut message = fields.take_words();
        fields.describe("", &mut message);
        let mut entry = Vec::with_capacity(512);
        let metadata = event.metadata();
        for span in context.event_scope(event).into_iter().flat_map(|scope| scope.from_root()) {
            put(&mut entry, "SPAN_NAME", span.name());
            if let Some(fields) = span.extensions().get::<Fields>() {
                fields.describe(&format!("{}.", span.name()), &mut message);
                fields.put(&mut entry);
            }
        }
        put(&mut entry, "PRIORITY", priority(*metadata.level()));
        put(&mut entry, "SYSLOG_IDENTIFIER", IDENTIFIER);
        put(&mut entry, "TARGET", metadata.target());
        if let (Some(file), Some(line)) = (metadata.file(), metadata.line()) {
            put(&mut entry, "CODE_FILE", file);
            put(&mut entry, "CODE_LINE", &line.to_string());
        }
        fields.put(&mut entry);
        put(&mut entry, "MESSAGE", &message);
        // An error is ignored, because a missing or full journal must not stop the daemon.
        let _ = self.socket.send_to(&entry, &self.path);
    }
}

impl Fields {
    fn take_words(&mut self) -> String {
        match self.0.iter().position(|(name, _)| *name == WORDS) {
            Some(at) => self.0.remove(at).1,
            None => String::new(),
        }
    }

    /// Adds `name=value` for each field. A value with blanks or quotes is quoted, so that its end is visible.
    fn describe(&self, prefix: &str, message: &mut String) {
        for (name, value) in &self.0 {
            let space = if message.is_empty() { "" } else { " " };
            let is_plain =
                !value.is_empty() && !value.contains(|c: char| c.is_whitespace() || c == '"');
            // Writing to a string cannot fail.
            let _ = match is_plain {
                true => write!(message, "{space}{prefix}{name}={value}"),
                false => write!(message, "{space}{prefix}{name}={value:?}"),
            };
        }
    }

    fn put(&self, entry: &mut Vec<u8>) {
        for (name, value) in &self.0 {
            put(entry, &name.to_ascii_uppercase(), value);
        }
    }
}

impl Visit for Fields {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.0.push((field.name(), value.to_owned()));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.0.push((field.name(), fmt::format(format_args!("{value:?}"))));
    }
}

/// Adds a field in the form with a length, because a value may have several lines.
fn put(entry: &mut Vec<u8>, name: &str, value: &str) {
    let value = &value.as_bytes()[..value.floor_char_boundary(VALUE_BYTES_MAX)];
    entry.extend_from_slice(name.as_bytes());
    entry.push(b'\n');
    entry.extend_from_slice(&(value.len() as u64).to_le_bytes());
    entry.extend_from_slice(value);
    entry.push(b'\n');
}

/// The level as a priority of syslog(3).
fn priority(level: Level) -> &'static str {
    match level {
        Level::ERROR => "3",
        Level::WARN => "4",
        Level::INFO => "5",
        Level::DEBUG => "6",
        Level::TRACE => "7",
    }
}

#[cfg(test)]
mod tests {
    use tracing_subscriber::layer::SubscriberExt;

    use super::*;

    /// What journald would get of `log`: fields of each entry.
    fn entries(log: impl FnOnce()) -> Vec<Vec<(String, String)>> {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("socket");
        let journald = UnixDatagram::bind(&path).unwrap();
        journald.set_nonblocking(true).unwrap();
        let journal = Journal::at(&path).unwrap();
        tracing::subscriber::with_default(tracing_subscriber::registry().with(journal), log);
        let mut buffer = vec![0; 1 << 20];
        let mut entries = Vec::new();
        while let Ok(length) = journald.recv(&mut buffer) {
            entries.push(read(&buffer[..length]));
        }
        assert!(entries.remove(0).is_empty());
        entries
    }

    fn read(mut entry: &[u8]) -> Vec<(String, String)> {
        let mut fields = Vec::new();
        while !entry.is_empty() {
            let end = entry.iter().position(|octet| *octet == b'\n').unwrap();
            let (name, rest) = (&entry[..end], &entry[end + 1..]);
            let length =
                usize::try_from(u64::from_le_bytes(rest[..8].try_into().unwrap())).unwrap();
            let text = |octets: &[u8]| String::from_utf8(octets.to_vec()).unwrap();
            fields.push((text(name), text(&rest[8..8 + length])));
            assert_eq!(rest[8 + length], b'\n');
            entry = &rest[9 + length..];
        }
        fields
    }

    fn value<'a>(entry: &'a [(String, String)], name: &str) -> &'a str {
        let found: Vec<_> = entry.iter().filter(|field| field.0 == name).collect();
        assert_eq!(found.len(), 1, "{name} in {entry:?}");
        &found[0].1
    }

    #[test]
    fn whatever_a_line_tells_in_a_field_stands_in_the_message_of_its_entry() {
        let told = entries(|| {
            let problem = "unknown setting: acme.none\nand more";
            tracing::error!(problem, "reload refused; everything stays as it was");
            let request = tracing::info_span!("request", id = %"0b7f");
            request.in_scope(|| {
                tracing::info!(
                    client = "registrar 1",
                    status = 200_u16,
                    serial = Some("5a91c0"),
                    audit_index = None::<u64>,
                    quoted = "\"",
                    empty = "",
                    "answered"
                );
            });
            tracing::warn!(error = %"gone");
            tracing::info!("stopped");
        });
        let messages: Vec<_> = told.iter().map(|entry| value(entry, "MESSAGE")).collect();
        assert_eq!(
            messages,
            [
                "reload refused; everything stays as it was \
                 problem=\"unknown setting: acme.none\\nand more\"",
                "answered client=\"registrar 1\" status=200 serial=5a91c0 quoted=\"\\\"\" \
                 empty=\"\" request.id=0b7f",
                "error=gone",
                "stopped",
            ]
        );
        // And for machines each is a field, as it was given.
        for (entry, name, wanted) in [
            (0, "PROBLEM", "unknown setting: acme.none\nand more"),
            (0, "PRIORITY", "3"),
            (1, "STATUS", "200"),
            (1, "SERIAL", "5a91c0"),
            (1, "ID", "0b7f"),
            (1, "SPAN_NAME", "request"),
            (1, "PRIORITY", "5"),
            (2, "PRIORITY", "4"),
            (3, "SYSLOG_IDENTIFIER", "chancery"),
        ] {
            assert_eq!(value(&told[entry], name), wanted, "{entry} {name}");
        }
    }

    #[test]
    fn a_value_of_any_length_is_cut_and_its_entry_arrives() {
        let long = "é".repeat(1_000_000);
        let told = entries(|| tracing::error!(long, "a long one"));
        assert_eq!(value(&told[0], "LONG").len(), VALUE_BYTES_MAX);
        let message = value(&told[0], "MESSAGE");
        assert!(message.starts_with("a long one long=éé") && message.len() <= VALUE_BYTES_MAX);
    }
}
