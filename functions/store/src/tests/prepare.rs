//! Every statement is prepared, and its types are compared with the declared ones.

use super::world::World;
use crate::statement::ALL;

#[tokio::test]
async fn every_file_is_prepared_with_the_declared_types() {
    let world = World::new().await;
    let client = world.client().await;
    for statement in ALL {
        let prepared = client
            .prepare_typed(statement.sql, statement.types)
            .await
            .unwrap_or_else(|error| panic!("{}: {error:?}", statement.name));
        assert_eq!(prepared.params(), statement.types, "{}", statement.name);
        let untyped = client
            .prepare(statement.sql)
            .await
            .unwrap_or_else(|error| panic!("{} without types: {error:?}", statement.name));
        assert_eq!(
            untyped.params(),
            statement.types,
            "{} as PostgreSQL infers",
            statement.name
        );
        for column in prepared.columns() {
            let oid = column.type_().oid();
            assert!(
                oid < 16_384,
                "{}.{} is no built-in type",
                statement.name,
                column.name()
            );
        }
    }
}

#[test]
fn every_file_is_a_statement() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/queries");
    let mut files: Vec<String> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| {
            entry
                .unwrap()
                .path()
                .file_stem()
                .unwrap()
                .to_string_lossy()
                .into_owned()
        })
        .collect();
    files.sort();
    let mut names: Vec<&str> = ALL.iter().map(|statement| statement.name).collect();
    names.sort_unstable();
    assert_eq!(files, names);
}
