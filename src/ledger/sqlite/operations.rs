//! From operations to statements: the two matches that name them all.

use super::{
    schema::SCHEMA_VERSION,
    sql::{answers, inherited, inventory, issuers, keys, read, stores, tokens, vical, write},
    transaction::Transaction,
};
#[cfg(test)]
use crate::ledger::{read::Test as ReadTest, write::Test as WriteTest};
use crate::ledger::{
    read::{
        AllInherited, Artifact, CasNamed, Certificates, Entries, EntryIds, FindAnswer, HasIssuedCa,
        IacaPins, IsVersionTaken, KeyPins, OneCertificate, OneEntry, OneKey, OneVical,
        OpenKeyChanges, Read, Resources, Taken, Tokens, UnindexedCas, ValidCaCertificates,
        ValidCertificatesOfKey, VicalEntries, VicalIds,
    },
    write::{
        Abort, AddEntry, Append, Begin, BeginKeyChange, BeginVical, ChangeResource, Complete,
        CreateResource, DeleteEntry, DropIacaPins, EndKeyChange, ForgetAnswers, IndexCas, Probe,
        RecordToken, ReplaceEntry, TakeVicalNumber, Write,
    },
};

/// Executes a write; after an error the transaction must forget what was done.
pub(super) fn write(write: &mut Write, tx: &Transaction<'_>) -> Result<(), String> {
    match write {
        Write::Begin(slot) => slot.run(|Begin(intent)| write::begin(tx, intent)),
        Write::TakeVicalNumber(slot) => slot
            .run(|TakeVicalNumber(service)| Ok(vical::next_issue_id(tx, service)?.unsigned_abs())),
        Write::BeginVical(slot) => {
            slot.run(|BeginVical(intent, reservation)| vical::begin(tx, intent, reservation))
        }
        Write::Complete(slot) => {
            slot.run(|Complete(id, outcome)| write::complete(tx, *id, outcome))
        }
        Write::Abort(slot) => slot.run(|Abort(id, audit)| write::abort(tx, *id, audit)),
        Write::Append(slot) => {
            slot.run(|Append(audit)| Ok(write::append(tx, audit)?.unsigned_abs()))
        }
        Write::ForgetAnswers(slot) => {
            slot.run(|ForgetAnswers(since, limit)| Ok(answers::forget(tx, *since, *limit)?))
        }
        Write::CreateResource(slot) => {
            slot.run(|CreateResource(resource, audit)| write::create_resource(tx, resource, audit))
        }
        Write::ChangeResource(slot) => {
            slot.run(|ChangeResource(resource, audit)| write::change_resource(tx, resource, audit))
        }
        Write::AddEntry(slot) => slot.run(|AddEntry(entry, audit)| stores::add(tx, entry, audit)),
        Write::ReplaceEntry(slot) => {
            slot.run(|ReplaceEntry(entry, audit)| stores::replace(tx, entry, audit))
        }
        Write::DeleteEntry(slot) => {
            slot.run(|DeleteEntry(store, id, audit)| stores::delete(tx, store, id, audit))
        }
        Write::BeginKeyChange(slot) => {
            slot.run(|BeginKeyChange(change, audit)| Ok(keys::begin(tx, change, audit)?))
        }
        Write::EndKeyChange(slot) => {
            slot.run(|EndKeyChange(change, pin, audit)| Ok(keys::end(tx, change, pin, audit)?))
        }
        Write::RecordToken(slot) => {
            slot.run(|RecordToken(token, keys, audit)| Ok(tokens::record(tx, token, keys, audit)?))
        }
        Write::DropIacaPins(slot) => {
            slot.run(|DropIacaPins(spki, audit)| Ok(issuers::drop_pins(tx, spki, audit)?))
        }
        Write::IndexCas(slot) => slot.run(|IndexCas(entries)| Ok(issuers::index(tx, entries)?)),
        Write::Probe(slot) => slot.run(|Probe()| Ok(write::touch(tx)?)),
        #[cfg(test)]
        Write::Test(slot) => slot.run(|WriteTest(sql, then)| {
            tx.execute_batch(sql)?;
            then();
            Ok(())
        }),
    }
}

/// Executes a read.
pub(super) fn read(read: &mut Read, tx: &Transaction<'_>) -> Result<(), String> {
    match read {
        Read::Certificates(slot) => slot.run(|Certificates(service, filter, limit)| {
            Ok(inventory::list(tx, service, filter, *limit)?)
        }),
        Read::OneCertificate(slot) => {
            slot.run(|OneCertificate(service, serial)| Ok(inventory::one(tx, service, serial)?))
        }
        Read::FindAnswer(slot) => {
            slot.run(|FindAnswer(request, since)| Ok(answers::find(tx, request, *since)?))
        }
        Read::Resources(slot) => slot.run(|Resources()| Ok(read::resources(tx)?)),
        Read::Taken(slot) => slot.run(|Taken(paths)| Ok(read::first_taken(tx, paths)?)),
        Read::OneEntry(slot) => {
            slot.run(|OneEntry(store, id)| Ok(read::store_entry(tx, store, id)?))
        }
        Read::Entries(slot) => slot.run(|Entries(store)| Ok(read::store_entries(tx, store)?)),
        Read::EntryIds(slot) => slot.run(|EntryIds(store)| Ok(read::store_ids(tx, store)?)),
        Read::VicalEntries(slot) => {
            slot.run(|VicalEntries(stores)| Ok(vical::entries(tx, stores)?))
        }
        Read::IsVersionTaken(slot) => {
            slot.run(|IsVersionTaken(service, version)| Ok(vical::is_taken(tx, service, version)?))
        }
        Read::VicalIds(slot) => slot.run(|VicalIds(service)| Ok(vical::ids(tx, service)?)),
        Read::OneVical(slot) => slot
            .run(|OneVical(service, version)| Ok(vical::version(tx, service, version.as_ref())?)),
        Read::Artifact(slot) => slot
            .run(|Artifact(service, version)| Ok(vical::artifact(tx, service, version.as_ref())?)),
        Read::KeyPins(slot) => slot.run(|KeyPins()| Ok(read::key_pins(tx)?)),
        Read::OpenKeyChanges(slot) => slot.run(|OpenKeyChanges()| Ok(keys::open(tx)?)),
        Read::ValidCertificatesOfKey(slot) => {
            slot.run(|ValidCertificatesOfKey(path, now)| Ok(keys::valid_of_key(tx, path, *now)?))
        }
        Read::ValidCaCertificates(slot) => {
            slot.run(|ValidCaCertificates(spki, now)| Ok(keys::valid_cas(tx, spki, *now)?))
        }
        Read::Tokens(slot) => slot.run(|Tokens()| Ok(tokens::all(tx)?)),
        Read::OneKey(slot) => slot.run(|OneKey(question)| Ok(issuers::known_key(tx, question)?)),
        Read::CasNamed(slot) => slot.run(|CasNamed(question)| Ok(issuers::named(tx, question)?)),
        Read::HasIssuedCa(slot) => {
            slot.run(|HasIssuedCa(spki, sha256)| Ok(issuers::has_issued(tx, spki, sha256)?))
        }
        Read::IacaPins(slot) => slot.run(|IacaPins(spki)| Ok(issuers::iaca_pins(tx, spki)?)),
        Read::UnindexedCas(slot) => {
            slot.run(|UnindexedCas(many)| Ok(issuers::unindexed(tx, *many)?))
        }
        Read::AllInherited(slot) => {
            slot.run(|AllInherited(now)| Ok(inherited::all(tx, SCHEMA_VERSION, *now)?))
        }
        #[cfg(test)]
        Read::Test(slot) => slot.run(|ReadTest(call)| {
            call();
            Ok(())
        }),
    }
}
