//! The contract against the engine: every import of every world, and what stands behind it.

use std::{collections::BTreeSet, path::Path};
use tidegate_engine::{CONTRACT, World};
use wit_parser::{Resolve, WorldItem, WorldKey};

/// Every function that a component of the contract can call, and what the engine does about it. Exhaustive: a new
/// one fails the test until somebody has decided.
const IMPORTS: [(&str, Behind); 9] = [
    ("log.write", Behind::Bounded),
    ("health.observations", Behind::Picture),
    ("health.agreed", Behind::Picture),
    ("replication.topology", Behind::Picture),
    ("dns.resolve", Behind::Picture),
    ("storage.list-objects", Behind::Picture),
    ("storage.stat", Behind::Picture),
    ("secrets.get", Behind::Gate("Gate::secret")),
    ("command.run", Behind::Gate("Gate::command")),
];

#[derive(Clone, Copy, Debug, PartialEq)]
enum Behind {
    /// Text, up to a limit.
    Bounded,
    /// The frozen picture of the question; nothing is reached.
    Picture,
    /// Reaches out, and this check stands before it.
    Gate(&'static str),
}

fn contract() -> (Resolve, Vec<(String, wit_parser::World)>) {
    let mut resolve = Resolve::default();
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../wit/v0.1.0");
    let (package, _) = resolve.push_dir(path).unwrap();
    let worlds =
        resolve.packages[package].worlds.iter().map(|(name, id)| (name.clone(), resolve.worlds[*id].clone())).collect();
    (resolve, worlds)
}

fn interfaces(resolve: &Resolve, items: impl Iterator<Item = (WorldKey, WorldItem)>) -> Vec<wit_parser::InterfaceId> {
    items
        .filter_map(|(_, item)| if let WorldItem::Interface { id, .. } = item { Some(id) } else { None })
        .inspect(|id| assert!(resolve.interfaces[*id].name.is_some()))
        .collect()
}

fn names(resolve: &Resolve, ids: &[wit_parser::InterfaceId]) -> BTreeSet<String> {
    ids.iter().map(|id| resolve.interfaces[*id].name.clone().unwrap()).collect()
}

#[test]
fn the_table_of_worlds_is_the_contracts() {
    let (resolve, worlds) = contract();
    let package = resolve.packages.iter().find(|(_, package)| package.name.name == "dr").unwrap().1;
    assert_eq!(package.name.version.as_ref().unwrap().to_string(), CONTRACT);
    assert_eq!(
        worlds.iter().map(|(name, _)| name.as_str()).collect::<BTreeSet<_>>(),
        World::ALL.iter().map(|w| w.as_str()).collect()
    );
    for (name, world) in worlds {
        let ours = World::ALL.iter().find(|ours| ours.as_str() == name).unwrap();
        let imports = names(&resolve, &interfaces(&resolve, world.imports.into_iter()));
        let exports = names(&resolve, &interfaces(&resolve, world.exports.into_iter()));
        assert_eq!(imports, ours.imports().iter().map(|i| (*i).to_owned()).collect(), "imports of {name}");
        assert_eq!(exports, ours.exports().iter().map(|e| (*e).to_owned()).collect(), "exports of {name}");
    }
}

#[test]
fn every_import_of_every_world_is_answered_from_the_picture_or_stands_behind_the_gate() {
    let (resolve, worlds) = contract();
    let mut seen = BTreeSet::new();
    for (name, world) in worlds {
        let ours = World::ALL.iter().find(|ours| ours.as_str() == name).unwrap();
        for id in interfaces(&resolve, world.imports.into_iter()) {
            let interface = &resolve.interfaces[id];
            for function in interface.functions.keys() {
                let import = format!("{}.{function}", interface.name.as_deref().unwrap());
                let known = IMPORTS.iter().find(|(known, _)| *known == import);
                let (_, behind) =
                    known.unwrap_or_else(|| panic!("{name} imports {import}: decide what stands behind it"));
                assert!(
                    !ours.is_policy() || !matches!(behind, Behind::Gate(_)),
                    "the policy world {name} reaches out: {import}"
                );
                seen.insert(import);
            }
        }
    }
    assert_eq!(
        seen,
        IMPORTS.iter().map(|(import, _)| (*import).to_owned()).collect(),
        "the table names no import that is gone"
    );
}

#[test]
fn no_policy_world_imports_anything_that_writes() {
    for world in World::ALL.iter().filter(|world| world.is_policy()) {
        let writes = world
            .imports()
            .iter()
            .find(|import| import.contains("control") || ["secrets", "command", "action", "notify"].contains(import));
        assert_eq!(writes, None, "{world}");
    }
}
