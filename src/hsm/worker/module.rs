//! Loading the module, and finding and opening the token. Any call here may block forever.

use std::{num::NonZeroUsize, path::Path};

use cryptoki::{
    context::{CInitializeFlags, Pkcs11},
    error::{Error, RvError},
    mechanism::{Mechanism, MechanismType},
    object::{Attribute, AttributeType, ObjectHandle},
    session::Session,
    slot::{Limit, Slot, TokenInfo},
};

use super::{
    attributes::Attributes,
    classify::fault,
    guard,
    quirks::Quirks,
    raw::{self, Raw},
    usage,
};
use crate::hsm::{
    Offer, TokenFacts,
    fault::{Class, Fault},
    protocol::Hello,
};

/// An initialised module and the configured token in it.
pub(super) struct OpenToken {
    pkcs11: Pkcs11,
    /// `None` where only cryptoki's functions can be used, which take one call more for a signature.
    raw: Option<Raw>,
    slot: Slot,
    pub(super) facts: TokenFacts,
    pub(super) quirks: Quirks,
    pub(super) mechanisms: Vec<MechanismType>,
    /// Sessions that the token allows one application; `None` when it sets no limit.
    sessions_max: Option<u64>,
    /// Whether the module does not support several threads.
    one_thread: bool,
    /// Whether the module was initialised before, such as by a library that it loads. Then it is not
    /// finalised here.
    adopted: bool,
}

impl OpenToken {
    /// Loads and initialises the module and finds the token. Slots are not configured, because their numbers
    /// change at each initialisation.
    ///
    /// # Errors
    /// [`Fault`]; also when several tokens have the label and no serial is configured.
    pub(super) fn open(hello: &Hello) -> Result<Self, Fault> {
        let pkcs11 = Pkcs11::new(&hello.module)
            .map_err(|error| fault(&error).with_detail(describe(&error, &hello.module)))?;
        let Begun { one_thread, adopted } = initialize(&pkcs11, hello.module_arguments.as_deref())
            .map_err(|error| {
                let words = "check the module's configuration file and its environment";
                fault(&error).with_detail(words)
            })?;
        let raw = Raw::of(&hello.module)
            .map_err(|error| fault(&error).with_detail(describe(&error, &hello.module)))?;
        let (slot, info) = match resolve(&pkcs11, raw.as_ref(), hello) {
            Ok(found) => found,
            Err(fault) => {
                // A failure to finalise adds nothing to the fault.
                if !adopted {
                    let _ = pkcs11.finalize();
                }
                return Err(fault);
            }
        };
        let mechanisms = mechanisms(&pkcs11, raw.as_ref(), slot)?;
        let slot_info = pkcs11.get_slot_info(slot).map_err(|error| fault(&error))?;
        let quirks = Quirks::of(info.manufacturer_id(), info.model())?;
        let facts = TokenFacts {
            serial: info.serial_number().to_owned(),
            manufacturer: info.manufacturer_id().to_owned(),
            model: info.model().to_owned(),
            hardware_version: info.hardware_version().to_string(),
            firmware_version: info.firmware_version().to_string(),
            is_hardware: slot_info.hardware_slot(),
            offers: offers(&pkcs11, slot, &mechanisms),
            local_says_nothing: quirks.local_says_nothing,
        };
        let told = match info.max_session_count() {
            Limit::Max(count) if count > 0 => Some(count),
            Limit::Max(_) | Limit::Unavailable | Limit::Infinite => None,
        };
        let sessions_max = told.into_iter().chain(quirks.sessions_max).min();
        Ok(Self { slot, facts, quirks, mechanisms, sessions_max, one_thread, adopted, raw, pkcs11 })
    }

    /// How many sessions may sign, in addition to the keeper's and one for changes of the token; 0 when the
    /// token has no room for these or the module does not support several threads.
    pub(super) fn signing_sessions_max(&self) -> usize {
        if self.one_thread {
            return 0;
        }
        match self.sessions_max {
            None => usize::MAX,
            Some(max) => usize::try_from(max).unwrap_or(usize::MAX).saturating_sub(2),
        }
    }

    /// Opens read-only sessions, as many as wanted or as the token grants. It may grant fewer than it says,
    /// so one more is opened and closed again, which leaves room for changes.
    ///
    /// # Errors
    /// [`Fault`] of `C_OpenSession`, except when the token has no room.
    pub(super) fn signing_sessions(&self, wanted: usize) -> Result<Vec<Session>, Fault> {
        let mut sessions = Vec::new();
        while sessions.len() <= wanted {
            match self.session() {
                Ok(session) => sessions.push(session),
                Err(fault) if fault.class == Class::Capacity => {
                    tracing::warn!("room for {} sessions of {wanted}: {fault}", sessions.len());
                    break;
                }
                Err(fault) => return Err(fault),
            }
        }
        sessions.pop();
        Ok(sessions)
    }

    /// The session for everything; read-only on a token that cannot be written.
    ///
    /// # Errors
    /// [`Fault`] of `C_OpenSession`.
    pub(super) fn only_session(&self) -> Result<Session, Fault> {
        self.rw_session().or_else(|fault| {
            tracing::warn!("{fault}: the session is read-only, and keys cannot be changed");
            self.session()
        })
    }

    /// A read-only session.
    ///
    /// # Errors
    /// [`Fault`] of `C_OpenSession`.
    pub(super) fn session(&self) -> Result<Session, Fault> {
        let opened = self.pkcs11.open_ro_session(self.slot);
        opened.map_err(|error| self.quirks.reclassified(fault(&error)))
    }

    /// A read-write session.
    ///
    /// # Errors
    /// [`Fault`] of `C_OpenSession`.
    pub(super) fn rw_session(&self) -> Result<Session, Fault> {
        let opened = self.pkcs11.open_rw_session(self.slot);
        opened.map_err(|error| self.quirks.reclassified(fault(&error)))
    }

    /// A signature over `data` by exactly two calls of the module.
    ///
    /// # Errors
    /// [`Error`] of `C_SignInit`, which leaves no operation open, or of `C_Sign`, which may.
    pub(super) fn sign(
        &self,
        session: &Session,
        mechanism: &Mechanism,
        key: ObjectHandle,
        data: &[u8],
    ) -> Result<Vec<u8>, Error> {
        match &self.raw {
            Some(raw) => raw.sign(session, mechanism, key, data),
            None => session.sign(mechanism, key, data),
        }
    }

    /// The objects that match a template, `max` at most.
    ///
    /// They are fetched one by one, because the end is an answer without objects (PKCS#11 v2.40,
    /// `C_FindObjects`) and cryptoki takes a batch that is not full for it.
    ///
    /// # Errors
    /// [`Fault`] of the search.
    pub(super) fn find(
        &self,
        session: &Session,
        template: &[Attribute],
        max: usize,
    ) -> Result<Vec<ObjectHandle>, Fault> {
        guard::call("C_FindObjects", || {
            session.iter_objects_with_cache_size(template, NonZeroUsize::MIN)?.take(max).collect()
        })
    }

    /// The attributes of an object that the module is willing to give.
    ///
    /// # Errors
    /// [`Fault`] of `C_GetAttributeValue`.
    pub(super) fn attributes(
        &self,
        session: &Session,
        object: ObjectHandle,
        wanted: &[AttributeType],
    ) -> Result<Attributes, Fault> {
        let read = match &self.raw {
            Some(raw) => raw.attributes(session, object, wanted),
            None => guard::call("C_GetAttributeValue", || session.get_attributes(object, wanted)),
        };
        read.map(Attributes)
    }

    /// Asks for the token's information, because sessions look alive after the token has gone and this call
    /// does not.
    ///
    /// # Errors
    /// [`Fault`] of identity class when another token is in its place, of device class when there is none.
    pub(super) fn still_there(&self) -> Result<TokenInfo, Fault> {
        let info = token_info(&self.pkcs11, self.raw.as_ref(), self.slot);
        let info = info.map_err(|error| fault(&error))?;
        if info.serial_number() != self.facts.serial {
            let words = format!("the slot now holds serial {}", info.serial_number());
            return Err(Fault::ours(Class::Identity, "C_GetTokenInfo", words));
        }
        usage::note(&info);
        Ok(info)
    }

    /// Checks that the token offers the same mechanisms as before, because they decide which keys can be used
    /// and a token that is coming up offers fewer.
    ///
    /// # Errors
    /// [`Fault`] of device class when they differ: the next signer judges the keys anew.
    pub(super) fn offers_the_same(&self) -> Result<(), Fault> {
        let offered = mechanisms(&self.pkcs11, self.raw.as_ref(), self.slot)?;
        let sorted = |mechanisms: &[MechanismType]| {
            let mut numbers: Vec<u64> = mechanisms.iter().map(|mechanism| **mechanism).collect();
            numbers.sort_unstable();
            numbers
        };
        if sorted(&offered) == sorted(&self.mechanisms) {
            return Ok(());
        }
        let words = "the token offers other mechanisms than before";
        Err(Fault::ours(Class::Device, "C_GetMechanismList", words))
    }

    /// Calls `C_Finalize`, unless the module was initialised before. All sessions must be closed.
    pub(super) fn finalize(self) {
        if self.adopted {
            return;
        }
        if let Err(error) = self.pkcs11.finalize() {
            tracing::warn!("{}: the process ends all the same", fault(&error));
        }
    }
}

/// The signing mechanisms and their key sizes. They are only shown, so a failure does not prevent the start.
fn offers(pkcs11: &Pkcs11, slot: Slot, mechanisms: &[MechanismType]) -> Vec<Offer> {
    let mut offers = Vec::new();
    for mechanism in mechanisms.iter().filter(|mechanism| Offer::new(***mechanism, 0, 0).is_some())
    {
        match pkcs11.get_mechanism_info(slot, *mechanism) {
            Ok(info) if info.sign() => {
                let sizes = (info.min_key_size() as u64, info.max_key_size() as u64);
                offers.extend(Offer::new(**mechanism, sizes.0, sizes.1));
            }
            Ok(_) => {}
            Err(error) => tracing::warn!("{}: {mechanism} is not told of", fault(&error)),
        }
    }
    offers
}

/// How the module was initialised; see [`OpenToken`].
struct Begun {
    one_thread: bool,
    adopted: bool,
}

fn initialize(pkcs11: &Pkcs11, arguments: Option<&str>) -> Result<Begun, Error> {
    // PKCS#11 v2.40, C_Initialize: without CKF_OS_LOCKING_OK, use by several threads is undefined.
    match raw::initialize(pkcs11, CInitializeFlags::OS_LOCKING_OK, arguments) {
        Ok(()) => Ok(Begun { one_thread: false, adopted: false }),
        Err(Error::Pkcs11(RvError::CryptokiAlreadyInitialized, _)) => {
            tracing::warn!("the module was initialised already: it is used without C_Initialize");
            Ok(Begun { one_thread: false, adopted: true })
        }
        Err(Error::Pkcs11(RvError::CantLock, _)) => {
            tracing::warn!(
                "the module does not support several threads: one thread does everything"
            );
            raw::initialize(pkcs11, CInitializeFlags::empty(), arguments)
                .map(|()| Begun { one_thread: true, adopted: false })
        }
        Err(error) => Err(error),
    }
}

fn token_info(pkcs11: &Pkcs11, raw: Option<&Raw>, slot: Slot) -> Result<TokenInfo, Error> {
    match raw {
        Some(raw) => raw.token_info(slot),
        None => pkcs11.get_token_info(slot),
    }
}

fn mechanisms(pkcs11: &Pkcs11, raw: Option<&Raw>, slot: Slot) -> Result<Vec<MechanismType>, Fault> {
    match raw {
        Some(raw) => raw.mechanisms(slot),
        None => guard::call("C_GetMechanismList", || pkcs11.get_mechanism_list(slot)),
    }
}

fn resolve(pkcs11: &Pkcs11, raw: Option<&Raw>, hello: &Hello) -> Result<(Slot, TokenInfo), Fault> {
    let refuse = |words: String| Fault::ours(Class::Configuration, "find token", words);
    let slots = match raw {
        Some(raw) => raw.slots_with_token(),
        None => guard::call("C_GetSlotList", || pkcs11.get_slots_with_token()),
    }?;
    let mut labelled = Vec::new();
    for slot in slots {
        match token_info(pkcs11, raw, slot) {
            Ok(info) if info.label() == hello.label => labelled.push((slot, info)),
            Ok(_) => {}
            // The slot may be another reader's. If it is ours, the token is not found.
            Err(error) => tracing::warn!("{}: its slot is passed over", fault(&error)),
        }
    }
    let serials = |found: &[(Slot, TokenInfo)]| {
        found.iter().map(|(_, info)| info.serial_number().to_owned()).collect::<Vec<_>>().join(", ")
    };
    let seen = serials(&labelled);
    if let Some(serial) = &hello.serial {
        labelled.retain(|(_, info)| info.serial_number() == serial);
    }
    let label = &hello.label;
    match (labelled.len(), &hello.serial) {
        (1, _) => labelled.pop().ok_or_else(|| refuse(String::new())),
        (0, Some(serial)) if !seen.is_empty() => {
            let words = format!(
                "no token is labelled '{label}' with serial {serial}; the label is on {seen}"
            );
            Err(Fault::ours(Class::Identity, "find token", words))
        }
        (0, _) => Err(refuse(format!("no token is labelled '{label}'"))),
        (count, _) => Err(refuse(format!(
            "{count} tokens are labelled '{label}', serials {seen}: configure the serial"
        ))),
    }
}

fn describe(error: &Error, module: &Path) -> String {
    format!("{}: {error}", module.display())
}
