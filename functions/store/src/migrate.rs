//! Brings a database to the current schema, and the rules in it to those of the domain crate.
//! Run by deployment and by devstack, never by a function.

use crate::{
    StoreError,
    connect::{connect, parse_for_migration},
};
use domain::{
    AgentState, AttemptState, Command, Ending, Existing, JobKind, JobState, Machine, Payment, Wish,
    decisions, effect, may_remake, permit,
};
use secrecy::ExposeSecret;
use std::fmt::Display;
use tokio_postgres::{Transaction, types::ToSql};

mod embedded {
    refinery::embed_migrations!("migrations");
}

/// Functions of the database, replaced by every migration.
const ROUTINES: [&str; 4] = [
    include_str!("../routines/settle.sql"),
    include_str!("../routines/stripe.sql"),
    include_str!("../routines/commands.sql"),
    include_str!("../routines/inventory.sql"),
];

/// Words of a rule table, column by column.
type Columns = Vec<Vec<String>>;

/// Brings the database to the current schema. Doing it again changes nothing.
///
/// # Errors
/// When the database cannot be reached or refuses a migration.
pub async fn migrate(config: &crate::ConnectConfig) -> Result<(), StoreError> {
    let mut client = connect(
        &parse_for_migration(config.url.expose_secret())?,
        config.ca_pem.as_deref(),
    )
    .await?;
    embedded::migrations::runner()
        .run_async(&mut client)
        .await
        .map_err(|error| StoreError::Migration(error.to_string()))?;
    let failed = |error: tokio_postgres::Error| {
        StoreError::Migration(StoreError::from_postgres("the rules", &error).to_string())
    };
    let transaction = client.transaction().await.map_err(failed)?;
    write_rules(&transaction).await.map_err(failed)?;
    transaction.commit().await.map_err(failed)
}

/// Replaces the rule tables by what the domain crate says now.
async fn write_rules(transaction: &Transaction<'_>) -> Result<(), tokio_postgres::Error> {
    // Two migrations at once would both delete and then both insert.
    transaction
        .execute("LOCK TABLE decision IN EXCLUSIVE MODE", &[])
        .await?;
    transaction
        .batch_execute(
            "DELETE FROM decision; DELETE FROM effect; DELETE FROM payment_order;
             DELETE FROM legal_change;",
        )
        .await?;
    for routine in ROUTINES {
        transaction.batch_execute(routine).await?;
    }
    let decision = "INSERT INTO decision
        SELECT a, b, c, d, e, f::boolean, g, h, i::boolean, j, k, l, m, n::boolean
        FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[],
                    $7::text[], $8::text[], $9::text[], $10::text[], $11::text[], $12::text[],
                    $13::text[], $14::text[]) AS rows (a, b, c, d, e, f, g, h, i, j, k, l, m, n)";
    insert(transaction, decision, decision_rows()).await?;
    let effect = "INSERT INTO effect SELECT * FROM
        unnest($1::text[], $2::text[], $3::text[], $4::text[])";
    insert(transaction, effect, effect_rows()).await?;
    let order = "INSERT INTO payment_order SELECT a, b::smallint, c::smallint
        FROM unnest($1::text[], $2::text[], $3::text[]) AS rows (a, b, c)";
    insert(transaction, order, payment_rows()).await?;
    let legal = "INSERT INTO legal_change SELECT * FROM
        unnest($1::text[], $2::text[], $3::text[])";
    let mut changes = Columns::new();
    legal_rows::<AgentState>(&mut changes);
    legal_rows::<JobState>(&mut changes);
    legal_rows::<AttemptState>(&mut changes);
    insert(transaction, legal, changes).await?;
    // Agents whose facts now mean something else: the trigger settles them.
    transaction
        .batch_execute(
            "UPDATE agents SET fresh_job_id = gen_random_uuid(), updated_at = now()
             FROM decision d
             WHERE (d.payment, d.wish, d.existing, d.gave_up, d.live, d.config_pending) =
                   (agents.payment, agents.wish, agents.existing, agents.gave_up, agents.live,
                    agents.config_pending)
                 AND (d.state, d.next_job) <> (agents.state, agents.queued_kind)",
        )
        .await
}

async fn insert(
    transaction: &Transaction<'_>,
    sql: &str,
    columns: Columns,
) -> Result<(), tokio_postgres::Error> {
    let params: Vec<&(dyn ToSql + Sync)> = columns
        .iter()
        .map(|column| -> &(dyn ToSql + Sync) { column })
        .collect();
    transaction.execute(sql, &params).await?;
    Ok(())
}

fn push(columns: &mut Columns, row: &[&dyn Display]) {
    columns.resize(row.len(), Vec::new());
    for (column, word) in columns.iter_mut().zip(row) {
        column.push(word.to_string());
    }
}

fn or_none(kind: Option<JobKind>) -> &'static str {
    kind.map_or("none", JobKind::as_str)
}

fn decision_rows() -> Columns {
    let mut columns = Columns::new();
    for (facts, next, state) in decisions() {
        push(
            &mut columns,
            &[
                &facts.payment,
                &facts.wish,
                &facts.existing,
                &or_none(facts.gave_up),
                &or_none(facts.live),
                &facts.config_pending,
                &or_none(next),
                &state,
                &(facts.wish == Wish::Delete || facts.payment == Payment::Canceled),
                &permit(facts, Command::Retry),
                &permit(facts, Command::Stop),
                &permit(facts, Command::Start),
                &permit(facts, Command::Delete),
                &may_remake(facts),
            ],
        );
    }
    columns
}

fn effect_rows() -> Columns {
    let mut columns = Columns::new();
    for kind in JobKind::ALL {
        for ending in Ending::ALL {
            for before in Existing::ALL {
                push(
                    &mut columns,
                    &[kind, ending, before, &effect(*kind, *ending, *before)],
                );
            }
        }
    }
    columns
}

fn payment_rows() -> Columns {
    let mut columns = Columns::new();
    for payment in Payment::ALL {
        push(&mut columns, &[payment, &payment.age(), &payment.rank()]);
    }
    columns
}

fn legal_rows<M: Machine + Display>(columns: &mut Columns) {
    for first in M::FIRST {
        push(columns, &[&M::NAME, &"", first]);
    }
    for (old, followers) in M::LEGAL {
        for new in *followers {
            push(columns, &[&M::NAME, old, new]);
        }
    }
}
