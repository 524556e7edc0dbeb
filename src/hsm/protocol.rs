//! The protocol between the front and a signer: frames of a 32-bit big-endian length and a message in
//! postcard. These messages are all that a signer can be asked.

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

/// Incremented whenever a message changes, because after an upgrade a running front meets new signers.
pub(super) const PROTOCOL_VERSION: u32 = 7;
/// Largest message to a signer, in octets.
pub(super) const TO_SIGNER_BYTES_MAX: usize = 16 * 1024;
/// Largest greeting, in octets: the public keys of a full token.
pub(super) const HELLO_BYTES_MAX: usize = 8 * 1024 * 1024;
/// Largest message from a signer, in octets: the listing of a full token.
pub(super) const FROM_SIGNER_BYTES_MAX: usize = 8 * 1024 * 1024;
/// Initial capacity of a frame, in octets: enough for a signature.
const USUAL_BYTES: usize = 256;
/// Longest message that a token is given to hash, in octets: enough for a certificate, not for a large VICAL.
pub(super) const MESSAGE_BYTES_MAX: usize = 8 * 1024;
/// Limit of private keys on a token.
pub(super) const KEYS_MAX: usize = 10_000;
/// Limit of the algorithms in [`Ready::hashing`].
const HASHING_MAX: usize = 100;
/// Longest text that is accepted from `CK_TOKEN_INFO`, in octets; the standard has 32.
const TOKEN_TEXT_BYTES_MAX: usize = 64;

/// Front to signer. `S` is borrowed where it is written and owned where it is read.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum ToSigner<S = SignRequest> {
    /// Sent once, first.
    Hello(Box<Hello>),
    /// Answered in any order.
    Request {
        /// Chosen by the front, unique per signer.
        id: u64,
        request: Request<S>,
    },
    /// Answers [`LoginNotice::Begins`].
    LoginDecision(LoginDecision),
}

/// The greeting: which token to open. The PIN itself is never sent, only its file name.
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
    /// PINs that were tried before.
    pub(super) tried_pins: Vec<PinAttempt>,
    /// Their file, for messages to the operator.
    pub(super) tried_pins_file: PathBuf,
    /// Sessions that sign.
    pub(super) sessions: usize,
    /// Restrictions of the module.
    pub(super) cage: Cage,
    /// Public keys on record.
    pub(super) stored: Vec<StoredKey>,
}

/// A request to a signer.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Request<S = SignRequest> {
    /// List the token again.
    Catalogue,
    /// Sign a digest.
    Sign(S),
    /// Change the keys on the token. The front sends one of these at a time for a token.
    Change(Box<KeyChange>),
}

/// A signature. The key is named by label, id and public key, so that no other can be used by mistake.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct SignRequest {
    /// `CKA_LABEL`.
    pub(super) label: String,
    /// `CKA_ID`.
    pub(super) id: Vec<u8>,
    /// SHA-256 of the `SubjectPublicKeyInfo`.
    pub(super) spki_sha256: [u8; 32],
    /// The key's algorithm. The digest is of its hash.
    pub(super) algorithm: SignatureAlgorithm,
    /// The digest's octets.
    pub(super) digest: Vec<u8>,
    /// The message of the digest, for a token that hashes itself; at most [`MESSAGE_BYTES_MAX`] octets.
    pub(super) message: Option<Vec<u8>>,
}

/// Signer to front.
#[derive(Serialize, Deserialize)]
pub(super) enum FromSigner {
    /// The token is open. Answers [`Hello`].
    Ready(Ready),
    /// The token cannot be opened, and the signer ends. Answers [`Hello`].
    Refused(Fault),
    /// Answers a request.
    Answer {
        /// Of the request.
        id: u64,
        answer: Answer,
        /// What the signer uses, as measured lately.
        usage: Usage,
    },
    /// About a login.
    Login(LoginNotice),
    /// A fault from which the signer recovers by itself, for the log.
    Noted {
        fault: Fault,
        /// `CKA_LABEL` of the key in question.
        key: String,
        /// What the signer does now.
        next: String,
    },
}

/// A notice about a login, sent before anything else that follows from it.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum LoginNotice {
    /// The signer wants to try the PIN and waits for [`ToSigner::LoginDecision`].
    Begins {
        fingerprint: PinFingerprint,
        /// What the token says about wrong PINs.
        wrong: WrongPinFlag,
    },
    /// `C_Login` has returned.
    Ended(LoginOutcome),
    /// The PIN was refused although it had been accepted before: its complete fingerprint.
    Refused(PinFingerprint),
}

/// The state of a token that was opened.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Ready {
    /// What the token says about itself.
    pub(super) facts: TokenFacts,
    /// Sessions that were opened for signing; 0 when one session does everything.
    pub(super) sessions: usize,
    /// The algorithms for which the token hashes itself and has to be given messages.
    #[serde(deserialize_with = "bounded::list::<_, _, HASHING_MAX>")]
    pub(super) hashing: Vec<SignatureAlgorithm>,
    /// The private keys.
    #[serde(deserialize_with = "bounded::list::<_, _, KEYS_MAX>")]
    pub(super) keys: Vec<ListedKey>,
}

impl Ready {
    /// Whether the texts are short enough to be those of a token. They go into logs, and the serial back to
    /// signers.
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

/// The result of a request.
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

/// The result of a change.
#[derive(Serialize, Deserialize)]
pub(super) enum KeyChangeResult {
    /// The key was made as requested, and has signed.
    Made(ListedKey),
    /// The key is gone.
    Destroyed,
    /// There is no such key, or more than one.
    Missing,
    /// Label or `CKA_ID` are taken; nothing was changed.
    Taken,
    /// The token cannot do this; nothing was changed. The text follows "does not support".
    Unsupported(String),
    /// The token does not keep a label of this many octets unchanged; nothing was changed.
    LabelTooLong(usize),
    /// The token made something else than requested.
    Rejected {
        /// The difference, for the operator.
        reason: String,
        /// Whether it was destroyed.
        destroyed: bool,
    },
}

/// Encodes a message as one frame.
///
/// # Errors
/// `InvalidData` when the message is longer than `bytes_max`.
pub(super) fn encode<T: Serialize>(message: &T, bytes_max: usize) -> io::Result<Vec<u8>> {
    let mut frame = Vec::with_capacity(USUAL_BYTES);
    encode_onto(&mut frame, message, bytes_max)?;
    Ok(frame)
}

/// Appends a message as one frame.
///
/// # Errors
/// `InvalidData` when the message is longer than `bytes_max`; then nothing is appended.
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

/// Encodes a message that may contain a private key as one frame that is wiped after use.
///
/// # Errors
/// `InvalidData` when the message is longer than `bytes_max`.
pub(super) fn encode_secret<T: Serialize>(
    message: &T,
    bytes_max: usize,
) -> io::Result<Zeroizing<Vec<u8>>> {
    // Allocated once, because a vector that grows leaves copies behind.
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

/// Decodes the content of a frame.
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

/// Reads one message; `None` when the other side has closed the socket between two frames.
///
/// # Errors
/// Of the reader, and `InvalidData` for what is not a message.
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
/// Of the writer, and `InvalidData` for a message that is too long.
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
