//! What the front and a signer say to each other: frames of a 32-bit big-endian length and a
//! postcard value. There is no way to ask for anything but these.

use std::{
    io::{self, ErrorKind, Read, Write},
    path::PathBuf,
};

use serde::{Deserialize, Serialize, de::DeserializeOwned};
use zeroize::Zeroizing;

use super::{
    StoredKey, TokenFacts, Usage,
    fault::Fault,
    key_change::KeyChange,
    pin_attempts::{LoginDecision, LoginOutcome, PinAttempt, PinFingerprint, WrongPinFlag},
    sandbox::Cage,
};
use crate::domain::key::{Signature, SignatureAlgorithm};

pub(super) mod bounded;

/// Raised whenever a message changes: after an upgrade on disk, an old front meets a new signer.
pub(super) const PROTOCOL_VERSION: u32 = 7;
/// Largest message to a signer, in octets.
pub(super) const TO_SIGNER_BYTES_MAX: usize = 16 * 1024;
/// Largest greeting, in octets: the public keys of a full token.
pub(super) const HELLO_BYTES_MAX: usize = 8 * 1024 * 1024;
/// Largest message from a signer, in octets: the listing of a full token.
pub(super) const FROM_SIGNER_BYTES_MAX: usize = 8 * 1024 * 1024;
/// Room for most messages, in octets: one of a signature does not grow.
const USUAL_BYTES: usize = 256;
/// Longest message that a token is given to hash, in octets: a certificate, not a list of them.
pub(super) const MESSAGE_BYTES_MAX: usize = 8 * 1024;
/// Most private keys that a token may list.
pub(super) const KEYS_MAX: usize = 10_000;
/// Most algorithms that a token may have to be given messages for; there are fewer.
const HASHING_MAX: usize = 100;
/// Longest text in `CK_TOKEN_INFO`, in octets; the standard has 32.
const TOKEN_TEXT_BYTES_MAX: usize = 64;

/// Front to signer. Who sends lends the order of a signature; who reads has it.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum ToSigner<S = SignRequest> {
    /// The first message, once.
    Hello(Box<Hello>),
    /// Any number of these, answered in any order.
    Request {
        /// Chosen by the front, unique per signer.
        id: u64,
        /// What is asked.
        request: Request<S>,
    },
    /// Answers [`LoginNotice::Begins`].
    LoginDecision(LoginDecision),
}

/// Which token to open. The PIN itself never travels, only where it lies.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Hello {
    /// [`PROTOCOL_VERSION`].
    pub(super) version: u32,
    /// Path of the PKCS#11 module.
    pub(super) module: PathBuf,
    /// `pReserved` of `C_Initialize`.
    pub(super) module_arguments: Option<String>,
    /// `CK_TOKEN_INFO.label`.
    pub(super) label: String,
    /// `CK_TOKEN_INFO.serialNumber`.
    pub(super) serial: Option<String>,
    /// File with the user PIN.
    pub(super) pin_file: PathBuf,
    /// `CKU_…` of a vendor's user type; `None`: `CKU_USER`.
    pub(super) vendor_user: Option<u32>,
    /// PINs that were tried.
    pub(super) tried_pins: Vec<PinAttempt>,
    /// Where they are kept, for words to the operator.
    pub(super) tried_pins_file: PathBuf,
    /// Sessions that sign.
    pub(super) sessions: usize,
    /// What the module may do.
    pub(super) cage: Cage,
    /// Public keys on record.
    pub(super) stored: Vec<StoredKey>,
}

/// What a signer can be asked.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Request<S = SignRequest> {
    /// List the token again.
    Catalogue,
    /// Sign a digest.
    Sign(S),
    /// Change what lies on the token. The front sends one of these at a time to a token.
    Change(Box<KeyChange>),
}

/// One signature; the key is named threefold, so that no other can slip in.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct SignRequest {
    /// `CKA_LABEL`.
    pub(super) label: String,
    /// `CKA_ID`.
    pub(super) id: Vec<u8>,
    /// SHA-256 of the `SubjectPublicKeyInfo`.
    pub(super) spki_sha256: [u8; 32],
    /// The key's algorithm; its hash is the digest's.
    pub(super) algorithm: SignatureAlgorithm,
    /// The digest's octets.
    pub(super) digest: Vec<u8>,
    /// What the digest is of, for a token that hashes itself; [`MESSAGE_BYTES_MAX`] octets at most.
    pub(super) message: Option<Vec<u8>>,
}

/// Signer to front.
#[derive(Serialize, Deserialize)]
pub(super) enum FromSigner {
    /// The token is open: answers [`Hello`].
    Ready(Ready),
    /// The token cannot be opened: answers [`Hello`]; the signer ends.
    Refused(Fault),
    /// Answers the request of that id.
    Answer {
        /// Of the request.
        id: u64,
        /// What came of it.
        answer: Answer,
        /// What the signer has, as measured a moment ago at most.
        usage: Usage,
    },
    /// Of a login.
    Login(LoginNotice),
    /// A fault that the signer gets over by itself, for the log.
    Noted {
        /// What went wrong.
        fault: Fault,
        /// `CKA_LABEL` of the key in question.
        key: String,
        /// What the signer does now.
        next: String,
    },
}

/// What a signer says of a login, before anything else that follows from it.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum LoginNotice {
    /// It wants to try the PIN, and waits for [`ToSigner::LoginDecision`].
    Begins {
        /// The fingerprint of the PIN.
        fingerprint: PinFingerprint,
        /// What the token says.
        wrong: WrongPinFlag,
    },
    /// The token has answered.
    Ended(LoginOutcome),
    /// The fingerprint of a PIN that was refused after all, complete.
    Refused(PinFingerprint),
}

/// An open token.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Ready {
    /// What the token says it is.
    pub(super) facts: TokenFacts,
    /// Sessions that could be opened for signing; 0 when one does everything.
    pub(super) sessions: usize,
    /// The algorithms for which the token has to be given messages, since it hashes itself.
    #[serde(deserialize_with = "bounded::list::<_, _, HASHING_MAX>")]
    pub(super) hashing: Vec<SignatureAlgorithm>,
    /// The private keys.
    #[serde(deserialize_with = "bounded::list::<_, _, KEYS_MAX>")]
    pub(super) keys: Vec<ListedKey>,
}

impl Ready {
    /// Whether these can be texts of a token: they go into logs, and the serial back to signers.
    pub(super) fn is_plausible(&self) -> bool {
        let TokenFacts { serial, manufacturer, model, hardware_version, firmware_version, .. } =
            &self.facts;
        let texts = [serial, manufacturer, model, hardware_version, firmware_version];
        texts.iter().all(|text| text.len() <= TOKEN_TEXT_BYTES_MAX)
    }
}

/// A private key on the token.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct ListedKey {
    /// `CKA_LABEL`.
    pub(super) label: String,
    /// `CKA_ID`.
    pub(super) id: Vec<u8>,
    /// `SubjectPublicKeyInfo` in DER, or why the key cannot be used.
    pub(super) public_key: Result<Vec<u8>, String>,
    /// `CKA_EXTRACTABLE`; true also where the token does not say.
    pub(super) extractable: bool,
}

/// What came of a request.
#[derive(Serialize, Deserialize)]
pub(super) enum Answer {
    /// To [`Request::Sign`]: the signature in the form of X.509.
    Signed(Signature),
    /// To [`Request::Sign`]: no such key, or not exactly one.
    Missing,
    /// To [`Request::Catalogue`].
    #[serde(deserialize_with = "bounded::list::<_, _, KEYS_MAX>")]
    Listed(Vec<ListedKey>),
    /// To [`Request::Change`].
    Changed(KeyChangeResult),
    /// To any.
    Failed(Fault),
}

/// What came of a change.
#[derive(Serialize, Deserialize)]
pub(super) enum KeyChangeResult {
    /// The key is there, is what was asked for, and has signed.
    Made(ListedKey),
    /// The key is gone.
    Destroyed,
    /// There was no such key, or not exactly one.
    Missing,
    /// Label or `CKA_ID` are in use; nothing was changed.
    Taken,
    /// The token cannot do it, in words that fit behind "does not support"; nothing was changed.
    Unsupported(String),
    /// The token does not keep a label of so many octets as it is; nothing was changed.
    LabelTooLong(usize),
    /// The token made something else.
    Rejected {
        /// What, in words for the operator.
        reason: String,
        /// Whether it is gone again.
        destroyed: bool,
    },
}

/// A message as one frame.
///
/// # Errors
/// `InvalidData` when the message is longer than `bytes_max`.
pub(super) fn encode<T: Serialize>(message: &T, bytes_max: usize) -> io::Result<Vec<u8>> {
    let mut frame = Vec::with_capacity(USUAL_BYTES);
    encode_onto(&mut frame, message, bytes_max)?;
    Ok(frame)
}

/// Adds a message, as one frame, to others.
///
/// # Errors
/// `InvalidData` when the message is longer than `bytes_max`; then nothing is added.
pub(super) fn encode_onto<T: Serialize>(
    frames: &mut Vec<u8>,
    message: &T,
    bytes_max: usize,
) -> io::Result<()> {
    let before = frames.len();
    frames.extend_from_slice(&[0; 4]);
    let encoded = postcard::to_io(message, &mut *frames).map(drop).map_err(invalid);
    let length = frames.len() - before - 4;
    let prefix = encoded.and_then(|()| match u32::try_from(length) {
        Ok(prefix) if length <= bytes_max => Ok(prefix),
        _ => Err(invalid(format!("a message of {length} octets is longer than {bytes_max}"))),
    });
    match prefix {
        Ok(prefix) => frames[before..before + 4].copy_from_slice(&prefix.to_be_bytes()),
        Err(error) => {
            frames.truncate(before);
            return Err(error);
        }
    }
    Ok(())
}

/// A message that may hold a private key, as one frame that is wiped after use.
///
/// # Errors
/// `InvalidData` when the message is longer than `bytes_max`.
pub(super) fn encode_secret<T: Serialize>(
    message: &T,
    bytes_max: usize,
) -> io::Result<Zeroizing<Vec<u8>>> {
    // All the room at once: a vector that grows leaves copies behind.
    let mut frame = Zeroizing::new(Vec::with_capacity(bytes_max + 4));
    encode_onto(&mut frame, message, bytes_max)?;
    Ok(frame)
}

/// The length that a frame announces.
///
/// # Errors
/// `InvalidData` when it is 0 or more than `bytes_max`.
pub(super) fn announced_length(prefix: [u8; 4], bytes_max: usize) -> io::Result<usize> {
    match usize::try_from(u32::from_be_bytes(prefix)) {
        Ok(length) if (1..=bytes_max).contains(&length) => Ok(length),
        _ => Err(invalid(format!("a frame announces {} octets", u32::from_be_bytes(prefix)))),
    }
}

/// The message in a frame's content, all of it.
///
/// # Errors
/// `InvalidData` for anything but exactly one message.
pub(super) fn decode<T: DeserializeOwned>(content: &[u8]) -> io::Result<T> {
    match postcard::take_from_bytes(content) {
        Ok((message, [])) => Ok(message),
        Ok(_) => Err(invalid("octets after the message")),
        Err(error) => Err(invalid(error)),
    }
}

/// Reads one message; `None` when the other side has closed between two frames.
///
/// # Errors
/// What the reader says, and `InvalidData` for what is no message.
pub(super) fn read<T: DeserializeOwned>(
    reader: &mut impl Read,
    bytes_max: usize,
) -> io::Result<Option<T>> {
    let mut prefix = [0; 4];
    match reader.read_exact(&mut prefix) {
        Ok(()) => {}
        Err(error) if error.kind() == ErrorKind::UnexpectedEof => return Ok(None),
        Err(error) => return Err(error),
    }
    let mut content = Zeroizing::new(vec![0; announced_length(prefix, bytes_max)?]);
    reader.read_exact(&mut content)?;
    decode(&content).map(Some)
}

/// Writes one message.
///
/// # Errors
/// What the writer says, and `InvalidData` for a message beyond the limit.
pub(super) fn write<T: Serialize>(
    writer: &mut impl Write,
    message: &T,
    bytes_max: usize,
) -> io::Result<()> {
    writer.write_all(&encode(message, bytes_max)?)
}

fn invalid(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, error)
}

#[cfg(test)]
mod tests;
