//! The workflow and the code agree: inputs, run name, operations, and how the runner is started.

use contract::{Inputs, Operation};

const WORKFLOW: &str = include_str!("../../../.github/workflows/provision-agent.yml");

fn inputs() -> Inputs {
    Inputs {
        job_id: "j".to_owned(),
        agent_id: "a".to_owned(),
        region: Inputs::DEFAULT_REGION.to_owned(),
        callback_url: "u".to_owned(),
        fence: 7,
        operation: Operation::Stop,
    }
}

#[test]
fn the_run_name_is_the_one_that_dispatch_looks_for() {
    let line = WORKFLOW
        .lines()
        .find_map(|line| line.strip_prefix("run-name: "))
        .unwrap();
    let mut name = line.trim_matches('"').to_owned();
    for (input, value) in inputs().pairs() {
        name = name.replace(&format!("${{{{ inputs.{input} }}}}"), &value);
    }
    assert_eq!(name, inputs().run_name());
}

#[test]
fn every_input_is_declared_and_reaches_the_runner_by_environment_only() {
    for (input, _) in inputs().pairs() {
        assert!(
            WORKFLOW.contains(&format!("\n      {input}:\n")),
            "{input} is declared"
        );
        let handed = format!(
            "          {}: ${{{{ inputs.{input} }}}}\n",
            input.to_uppercase()
        );
        assert!(WORKFLOW.contains(&handed), "{input} is handed over");
    }
    let operations = Operation::ALL.map(Operation::as_str).join(", ");
    assert!(WORKFLOW.contains(&format!("options: [{operations}]")));
    for (number, line) in WORKFLOW.lines().enumerate() {
        let names_it = line.contains("${{") && !line.trim_start().starts_with("if: ");
        let is_value = line.contains(": ${{") || line.contains("name: \"${{");
        let is_group = line.trim_start().starts_with("group: ");
        assert!(
            !names_it || is_value || is_group,
            "line {}: {line}",
            number + 1
        );
    }
}

#[test]
fn the_runner_gets_signals_and_its_death_is_covered() {
    assert!(WORKFLOW.contains("        run: exec \"$RUNNER_TEMP/slipway/runner\"\n"));
    assert!(WORKFLOW.contains("if: ${{ always() && steps.run.outcome != 'success' }}"));
    assert!(WORKFLOW.contains("timeout-minutes: 15\n"));
    assert!(WORKFLOW.contains("queue: max\n"));
    let uses: Vec<&str> = WORKFLOW
        .lines()
        .filter_map(|line| line.trim().strip_prefix("uses: "))
        .collect();
    for action in uses {
        let commit = action.split_once('@').unwrap().1.split(' ').next().unwrap();
        assert_eq!(commit.len(), 40, "{action} is pinned by commit");
    }
}
