//! The calls that are allowed whatever their arguments, found in a few steps instead of one after the other.
//!
//! The kernel asks a new filter about every number that there is, to remember which of them it need not ask about again. With
//! two hundred comparisons in a row that takes it longer than all else about a filter, for every command.

use std::io;

use seccompiler::{BpfProgram, sock_filter};

use super::escapes::{EQUAL, RETURN, jump, statement};

const GREATER: u16 = 0x25; // BPF_JMP | BPF_JGT | BPF_K
const NOT_LESS: u16 = 0x35; // BPF_JMP | BPF_JGE | BPF_K
const ON: u16 = 0x05; // BPF_JMP | BPF_JA

/// Allows these numbers, of which the one that is asked about is loaded; any other goes on to the next part.
pub(super) fn allowed(numbers: impl IntoIterator<Item = i64>) -> io::Result<BpfProgram> {
    let mut numbers: Vec<u32> =
        numbers.into_iter().map(u32::try_from).collect::<Result<_, _>>().map_err(io::Error::other)?;
    numbers.sort_unstable();
    numbers.dedup();
    let mut program = search(&ranges(&numbers))?;
    // Whatever is in no range leaves over the end.
    let end = u32::try_from(program.len()).map_err(io::Error::other)?;
    for (place, instruction) in (1..=end).zip(&mut program) {
        if instruction.code == ON {
            instruction.k = end.saturating_sub(place);
        }
    }
    Ok(program)
}

/// The first and the last of numbers that follow each other.
fn ranges(numbers: &[u32]) -> Vec<(u32, u32)> {
    let runs = numbers.chunk_by(|one, next| one.checked_add(1) == Some(*next));
    runs.filter_map(|run| Some((*run.first()?, *run.last()?))).collect()
}

fn search(ranges: &[(u32, u32)]) -> io::Result<BpfProgram> {
    let allow = statement(RETURN, libc::SECCOMP_RET_ALLOW);
    let (lower, upper) = ranges.split_at_checked(ranges.len() / 2).unwrap_or_default();
    match (lower, upper) {
        (_, []) => Ok(vec![statement(ON, 0)]),
        ([], [(only, last), ..]) if only == last => {
            Ok(vec![jump(EQUAL, *only, 0, 1), allow, statement(ON, 0)])
        }
        ([], [(first, last), ..]) => {
            Ok(vec![jump(NOT_LESS, *first, 0, 2), jump(GREATER, *last, 1, 0), allow, statement(ON, 0)])
        }
        (_, [(first, _), ..]) => {
            let lower = search(lower)?;
            let over = u8::try_from(lower.len()).map_err(io::Error::other)?;
            let mut program: Vec<sock_filter> = vec![jump(NOT_LESS, *first, over, 0)];
            program.extend(lower);
            program.extend(search(upper)?);
            Ok(program)
        }
    }
}
