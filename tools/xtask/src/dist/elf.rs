//! Whether a program runs without an interpreter and libraries of the system.

/// Program header that names the interpreter: the dynamic linker.
const PT_INTERP: u32 = 3;
/// Size of a program header.
const HEADER: usize = 56;

/// Whether this is a 64-bit little-endian ELF file without an interpreter.
pub fn is_static(file: &[u8]) -> bool {
    let u16_at = |at: usize| {
        let bytes = file.get(at..)?.first_chunk()?;
        Some(usize::from(u16::from_le_bytes(*bytes)))
    };
    let first = file.get(32..).and_then(|rest| rest.first_chunk());
    let first = first.and_then(|bytes| usize::try_from(u64::from_le_bytes(*bytes)).ok());
    let (Some(first), Some(HEADER), Some(count)) = (first, u16_at(54), u16_at(56)) else {
        return false;
    };
    let headers = file.get(first..).unwrap_or_default().chunks_exact(HEADER);
    file.starts_with(b"\x7fELF\x02\x01")
        && headers.len() >= count
        && headers
            .take(count)
            .all(|header| !header.starts_with(&PT_INTERP.to_le_bytes()))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    /// A file with one program header of this type.
    fn file(kind: u32) -> Vec<u8> {
        let mut file = vec![0; 64 + HEADER];
        file[..6].copy_from_slice(b"\x7fELF\x02\x01");
        file[32] = 64;
        file[54] = 56;
        file[56] = 1;
        file[64..68].copy_from_slice(&kind.to_le_bytes());
        file
    }

    #[test]
    fn a_program_that_names_an_interpreter_is_not_static() {
        const PT_LOAD: u32 = 1;

        assert!(is_static(&file(PT_LOAD)));
        assert!(!is_static(&file(PT_INTERP)));
        assert!(!is_static(b"#!/bin/sh\n"));
    }

    #[test]
    fn this_test_which_is_linked_with_the_systems_library_is_not_static() {
        let program = fs::read(std::env::current_exe().unwrap()).unwrap();

        assert!(!is_static(&program));
    }
}
