//! The tables.
//!
//! SQLite's names of types: on PostgreSQL, INTEGER is BIGINT and BLOB is BYTEA. Times are whole
//! seconds since 1970, lists and metadata are JSON as TEXT. Numbers are given by the ledger, without
//! gaps, never by a sequence.

use rusqlite::Connection;

/// The version this program writes and reads.
pub(in crate::ledger) const SCHEMA_VERSION: i32 = 3;

/// Step `n` makes version `n + 1` out of version `n`.
pub(in crate::ledger) const STEPS: [&str; 3] = [VERSION_1, VERSION_2, VERSION_3];

/// Brings the tables from version `from` to [`SCHEMA_VERSION`], within the caller's transaction.
pub(in crate::ledger) fn migrate(connection: &Connection, from: i32) -> rusqlite::Result<()> {
    for step in STEPS.iter().skip(usize::try_from(from).unwrap_or(0)) {
        connection.execute_batch(step)?;
    }
    connection.execute(
        "INSERT INTO meta (name, value) VALUES ('schema_version', ?1)
         ON CONFLICT (name) DO UPDATE SET value = excluded.value",
        [SCHEMA_VERSION.to_string()],
    )?;
    Ok(())
}

const VERSION_1: &str = "
CREATE TABLE meta (
    name TEXT NOT NULL PRIMARY KEY,
    value TEXT NOT NULL
);

-- The log: idx counts from 0 without a gap; entry is what is hashed, byte for byte.
CREATE TABLE audit_entries (
    idx INTEGER NOT NULL PRIMARY KEY,
    entry BLOB NOT NULL,
    leaf_hash BLOB NOT NULL
);

-- Never deleted: that is what makes a serial number unique for ever.
CREATE TABLE intents (
    id INTEGER NOT NULL PRIMARY KEY,
    state TEXT NOT NULL CHECK (state IN ('open', 'issued', 'aborted')),
    serial BLOB UNIQUE,
    purpose TEXT NOT NULL,
    service TEXT NOT NULL,
    tbs_sha256 BLOB NOT NULL,
    issuer_key_path TEXT,
    subject_key_path TEXT,
    dev_key BOOLEAN NOT NULL,
    client TEXT NOT NULL,
    request_id TEXT NOT NULL,
    created_at INTEGER NOT NULL
);
CREATE INDEX intents_open ON intents (id) WHERE state = 'open';

-- The inventory; never deleted. The newest has the highest audit_index.
CREATE TABLE certificates (
    audit_index INTEGER NOT NULL PRIMARY KEY REFERENCES audit_entries (idx),
    -- Unique, and with it the serial number, which is the intent's.
    intent INTEGER NOT NULL UNIQUE REFERENCES intents (id),
    serial BLOB NOT NULL,
    service TEXT NOT NULL,
    profile TEXT NOT NULL,
    der BLOB NOT NULL,
    sha256 BLOB NOT NULL,
    spki_sha256 BLOB NOT NULL,
    subject_der BLOB NOT NULL,
    issuer_der BLOB NOT NULL,
    subject_cn TEXT,
    subject_text TEXT NOT NULL,
    issuer_text TEXT NOT NULL,
    subject_key_id BLOB NOT NULL,
    issuer_key_id BLOB NOT NULL,
    issuer_key_path TEXT,
    subject_key_path TEXT,
    not_before INTEGER NOT NULL,
    not_after INTEGER NOT NULL,
    is_ca BOOLEAN NOT NULL,
    self_signed BOOLEAN NOT NULL,
    issued_at INTEGER NOT NULL,
    client TEXT NOT NULL,
    request_id TEXT NOT NULL,
    dev_key BOOLEAN NOT NULL,
    stored_id TEXT,
    stored_ids TEXT NOT NULL
);
-- With the times, so that what is asked of them is told from the index alone.
CREATE INDEX certificates_service ON certificates
    (service, audit_index, not_before, not_after, issued_at);
CREATE INDEX certificates_profile ON certificates (service, profile, audit_index);
CREATE INDEX certificates_client ON certificates (service, client, audit_index);
CREATE INDEX certificates_issuer ON certificates (issuer_key_id, audit_index);
CREATE INDEX certificates_issuer_key_path ON certificates (issuer_key_path, audit_index);
CREATE INDEX certificates_subject_key_path ON certificates (subject_key_path, audit_index)
    WHERE subject_key_path IS NOT NULL;
CREATE INDEX certificates_subject_cn ON certificates (subject_cn, audit_index);
CREATE INDEX certificates_stored_id ON certificates (stored_id) WHERE stored_id IS NOT NULL;
CREATE INDEX certificates_ca ON certificates (spki_sha256, audit_index) WHERE is_ca;

-- An entry is either reserved by an open intent and empty, or filled and nobody's.
CREATE TABLE store_entries (
    store TEXT NOT NULL,
    id TEXT NOT NULL,
    reserved_by INTEGER REFERENCES intents (id),
    kind TEXT CHECK (kind IN ('base', 'vical-entry')),
    der BLOB,
    spki_sha256 BLOB,
    is_ca BOOLEAN,
    metadata TEXT,
    PRIMARY KEY (store, id),
    CHECK ((der IS NULL) = (reserved_by IS NOT NULL)),
    CHECK ((der IS NULL) = (kind IS NULL)),
    CHECK ((der IS NULL) = (spki_sha256 IS NULL)),
    CHECK ((der IS NULL) = (is_ca IS NULL))
);
CREATE INDEX store_entries_reserved ON store_entries (reserved_by) WHERE reserved_by IS NOT NULL;
CREATE INDEX store_entries_ca ON store_entries (spki_sha256, store, id) WHERE is_ca;

-- The last issue id that was given out, for each VICAL service.
CREATE TABLE vical_issues (
    service TEXT NOT NULL PRIMARY KEY,
    last INTEGER NOT NULL
);

-- A version is either reserved by an open intent and empty, or published and nobody's. Never deleted
-- once it is published.
CREATE TABLE vical_versions (
    service TEXT NOT NULL,
    version TEXT NOT NULL,
    issue_id INTEGER NOT NULL,
    reserved_by INTEGER REFERENCES intents (id),
    provider TEXT,
    date INTEGER,
    next_update INTEGER,
    entry_count INTEGER,
    artifact BLOB,
    sha256 BLOB,
    size_bytes INTEGER,
    algorithm TEXT,
    signer_certificate_pem TEXT,
    signer_chain_pem TEXT,
    PRIMARY KEY (service, version),
    UNIQUE (service, issue_id),
    CHECK ((artifact IS NULL) = (reserved_by IS NOT NULL)),
    CHECK ((artifact IS NULL) = (provider IS NULL)),
    CHECK ((artifact IS NULL) = (date IS NULL)),
    CHECK ((artifact IS NULL) = (sha256 IS NULL))
);
CREATE INDEX vical_versions_reserved ON vical_versions (reserved_by)
    WHERE reserved_by IS NOT NULL;

-- First answers, given again to the same Idempotency-Key of the same client.
CREATE TABLE answers (
    client TEXT NOT NULL,
    route TEXT NOT NULL,
    key TEXT NOT NULL,
    fingerprint BLOB NOT NULL,
    serial TEXT,
    audit_index INTEGER NOT NULL REFERENCES audit_entries (idx),
    body BLOB NOT NULL,
    kept_at INTEGER NOT NULL,
    PRIMARY KEY (client, route, key)
);
CREATE INDEX answers_kept_at ON answers (kept_at);

-- Tenants and services that were created over the API; the declared ones are not here.
CREATE TABLE resources (
    path TEXT NOT NULL PRIMARY KEY,
    definition TEXT NOT NULL
);

CREATE TABLE key_pins (
    path TEXT NOT NULL PRIMARY KEY,
    token TEXT NOT NULL,
    label TEXT NOT NULL,
    cka_id BLOB NOT NULL,
    spki BLOB NOT NULL,
    spki_sha256 BLOB NOT NULL,
    first_seen INTEGER NOT NULL
);

-- What was begun in an HSM and has not ended.
CREATE TABLE key_changes (
    path TEXT NOT NULL PRIMARY KEY,
    operation TEXT NOT NULL CHECK (operation IN ('generate', 'import', 'delete')),
    client TEXT NOT NULL,
    request_id TEXT NOT NULL,
    begun_at INTEGER NOT NULL
);

-- An empty ian_email or ian_uri stands for none: no column of a primary key may be NULL.
CREATE TABLE iaca_pins (
    spki_sha256 BLOB NOT NULL,
    subject_der BLOB NOT NULL,
    ian_email TEXT NOT NULL,
    ian_uri TEXT NOT NULL,
    not_before INTEGER NOT NULL,
    not_after INTEGER NOT NULL,
    key_path TEXT,
    pinned_at INTEGER NOT NULL,
    PRIMARY KEY (spki_sha256, subject_der, ian_email, ian_uri, not_before, not_after)
);
";

/// For SQLite alone, and as its documentation of ALTER TABLE has it where no row changes: to look for a
/// state among three, it builds a table of the three, for each intent and at each end of one.
const VERSION_2: &str = "
PRAGMA writable_schema = ON;
UPDATE sqlite_schema SET sql = replace(sql,
    'CHECK (state IN (''open'', ''issued'', ''aborted''))',
    'CHECK (state = ''open'' OR state = ''issued'' OR state = ''aborted'')')
WHERE type = 'table' AND name = 'intents';
PRAGMA writable_schema = RESET;
";

const VERSION_3: &str = "
-- Which token each name of the configuration stands for: the one that was seen first under the name, or
-- that an operator has accepted in its place.
CREATE TABLE tokens (
    name TEXT NOT NULL PRIMARY KEY,
    serial TEXT NOT NULL,
    since INTEGER NOT NULL
);

-- Serial number of the token that has the key; NULL until a token has shown the key.
ALTER TABLE key_pins ADD COLUMN token_serial TEXT;

-- The signer of each VICAL service and the certificates above it: their SHA-256, one after the other,
-- the signer's first. Until the first publication has ended, the row is that publication's and goes
-- with it.
CREATE TABLE vical_signers (
    service TEXT NOT NULL PRIMARY KEY,
    sha256s BLOB NOT NULL,
    reserved_by INTEGER REFERENCES intents (id)
);
CREATE INDEX vical_signers_reserved ON vical_signers (reserved_by) WHERE reserved_by IS NOT NULL;

-- By what a stored CA certificate is found as the issuer of others; NULL of what is no CA.
ALTER TABLE store_entries ADD COLUMN subject_sha256 BLOB;
ALTER TABLE store_entries ADD COLUMN key_id BLOB;
CREATE INDEX store_entries_ca_subject ON store_entries (subject_sha256, store, key_id) WHERE is_ca;
CREATE INDEX certificates_ca_subject ON certificates (subject_der, subject_key_id, audit_index)
    WHERE is_ca;

-- CA certificates from elsewhere that issuances have relied on.
CREATE TABLE used_issuers (
    spki_sha256 BLOB NOT NULL,
    sha256 BLOB NOT NULL,
    subject_sha256 BLOB NOT NULL,
    der BLOB NOT NULL,
    is_iaca BOOLEAN NOT NULL,
    self_signed BOOLEAN NOT NULL,
    not_after INTEGER NOT NULL,
    service TEXT NOT NULL,
    used_at INTEGER NOT NULL,
    PRIMARY KEY (spki_sha256, sha256)
);
CREATE INDEX used_issuers_subject ON used_issuers (subject_sha256);

-- The role that a key takes with an open intent.
CREATE TABLE key_claims (
    intent INTEGER NOT NULL REFERENCES intents (id),
    spki_sha256 BLOB NOT NULL,
    role TEXT NOT NULL CHECK (role = 'iaca' OR role = 'generic'),
    PRIMARY KEY (intent, spki_sha256)
);
CREATE INDEX key_claims_key ON key_claims (spki_sha256);

-- What keys on tokens have signed, certificates of IACAs and document signers aside.
CREATE TABLE key_uses (
    spki_sha256 BLOB NOT NULL,
    purpose TEXT NOT NULL,
    PRIMARY KEY (spki_sha256, purpose)
);
INSERT INTO key_uses SELECT DISTINCT key_pins.spki_sha256, intents.purpose
    FROM intents JOIN key_pins ON key_pins.path = intents.issuer_key_path
    WHERE intents.state = 'issued' AND intents.purpose IN ('generic', 'csr', 'vical');

-- What a tenant or service of the version before was when this version began; NULL of later ones.
ALTER TABLE resources ADD COLUMN definition_before TEXT;
UPDATE resources SET definition_before = definition;
";
