//! The table of commands in docs/reference/access.md names every command, and calls only methods that there are.

use clap::CommandFactory as _;
use moltbot_protocol::method::Method;

use super::Arguments;

const PAGE: &str = include_str!("../../../../docs/reference/access.md");

/// The rows of the table that begins with these words, as their cells.
fn rows(head: &str) -> Vec<Vec<&'static str>> {
    let table = PAGE.lines().skip_while(|line| !line.starts_with(head)).skip(2);
    let cells = |line: &'static str| line.trim_matches('|').split('|').map(str::trim).collect();
    table.take_while(|line| line.starts_with('|')).map(cells).collect()
}

/// Every command that does something by itself, with the names of those above it.
fn leaves(command: &clap::Command, above: &str) -> Vec<String> {
    let below: Vec<&clap::Command> =
        command.get_subcommands().filter(|command| command.get_name() != "help").collect();
    if below.is_empty() {
        return vec![above.to_owned()];
    }
    let path = |command: &clap::Command| format!("{above} {}", command.get_name()).trim_start().to_owned();
    below.into_iter().flat_map(|command| leaves(command, &path(command))).collect()
}

#[test]
fn the_access_table_of_commands_is_complete() {
    let mut built = Arguments::command();
    built.build();
    let mut expected = leaves(&built, "");
    expected.sort_unstable();
    let rows = rows("| command |");
    let found: Vec<String> = rows.iter().map(|row| row[0].trim_matches('`').to_owned()).collect();
    assert_eq!(found, expected, "the commands of docs/reference/access.md");
    for row in &rows {
        assert!(["yes", "–"].contains(&row[1]) && ["yes", "–"].contains(&row[2]), "{row:?}");
        let methods = row[3].split('`').skip(1).step_by(2);
        for method in methods {
            assert!(Method::parse(method).is_some(), "{}: there is no method {method}", row[0]);
        }
    }
}
