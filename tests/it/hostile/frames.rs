//! HTTP/2 octet by octet (RFC 9113, RFC 7541), as no library would write it.

/// What a client begins with: the preface, and SETTINGS without any.
pub fn preface() -> Vec<u8> {
    [b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", &frame(SETTINGS, 0, 0, &[])[..]].concat()
}

/// The acknowledgement of the server's SETTINGS.
pub fn acknowledgement() -> Vec<u8> {
    frame(SETTINGS, ACK, 0, &[])
}

pub const DATA: u8 = 0;
pub const HEADERS: u8 = 1;
pub const PRIORITY: u8 = 2;
pub const RST_STREAM: u8 = 3;
pub const SETTINGS: u8 = 4;
pub const PING: u8 = 6;
pub const GOAWAY: u8 = 7;
pub const WINDOW_UPDATE: u8 = 8;
pub const CONTINUATION: u8 = 9;
/// No kind that there is.
pub const UNKNOWN: u8 = 99;

pub const ACK: u8 = 1;
pub const END_STREAM: u8 = 1;
pub const END_HEADERS: u8 = 4;

pub fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// A setting.
pub fn setting(number: u16, value: u32) -> Vec<u8> {
    frame(SETTINGS, 0, 0, &[&number.to_be_bytes()[..], &value.to_be_bytes()].concat())
}

/// INITIAL_WINDOW_SIZE.
pub const WINDOW: u16 = 4;

/// A field that goes into the table of the other end, or not.
pub fn field(name: &str, value: &str, is_kept: bool) -> Vec<u8> {
    let mut octets = vec![if is_kept { 0x40 } else { 0 }];
    for text in [name, value] {
        match text.len() {
            length @ 0..127 => octets.push(u8::try_from(length).unwrap()),
            mut length => {
                octets.push(127);
                length -= 127;
                while length >= 128 {
                    octets.push(u8::try_from(length % 128 + 128).unwrap());
                    length /= 128;
                }
                octets.push(u8::try_from(length).unwrap());
            }
        }
        octets.extend_from_slice(text.as_bytes());
    }
    octets
}

/// Method, scheme, authority and path of a request.
pub fn request(method: &str, path: &str) -> Vec<u8> {
    [
        field(":method", method, false),
        field(":scheme", "https", false),
        field(":authority", "localhost", false),
        field(":path", path, false),
    ]
    .concat()
}

/// The table has no entries from now on.
pub const EMPTY_TABLE: u8 = 0x20;
/// A field of the static table: "accept-encoding: gzip, deflate".
pub const STATIC: u8 = 0x80 | 16;
/// The first entry of the table.
pub const NEWEST: u8 = 0x80 | 62;
