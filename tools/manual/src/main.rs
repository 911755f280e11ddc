//! Manual pages and completions of `vfio-user-ixgbe` and `vhost-user-ixgbe`, for packages: from the descriptions of their
//! command lines, which the servers themselves need no code for.
//!
//! `manual FOLDER` writes `NAME.1`, `NAME.bash`, `_NAME` (zsh) and `NAME.fish` for each. `ixgbectl` writes its own.

#![forbid(unsafe_code)]

use std::{env, fs, path::Path};

use anyhow::{Context, Result};
use clap::{Command, CommandFactory};
use clap_complete::Shell;

fn main() -> Result<()> {
    let folder = env::args_os()
        .nth(1)
        .context("no folder to write to; give one")?;
    write(Path::new(&folder))
}

/// Writes the files of both programs.
fn write(folder: &Path) -> Result<()> {
    fs::create_dir_all(folder)
        .with_context(|| format!("cannot make the folder {}", folder.display()))?;
    let commands: [Command; 2] = [
        vfio_user_ixgbe::cli::Arguments::command(),
        vhost_user_ixgbe::cli::Arguments::command(),
    ];
    for command in commands {
        let name = command.get_name().to_owned();
        for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
            clap_complete::generate_to(shell, &mut command.clone(), &name, folder)
                .with_context(|| format!("cannot write completions to {}", folder.display()))?;
        }
        clap_mangen::generate_to(command, folder)
            .with_context(|| format!("cannot write pages to {}", folder.display()))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_server_has_a_page_and_completions_that_know_its_flags() {
        let folder = tempfile::tempdir().unwrap();

        write(folder.path()).unwrap();

        let text = |name: &str| fs::read_to_string(folder.path().join(name)).unwrap();
        assert!(text("vfio-user-ixgbe.1").contains("\\-\\-sandbox"));
        assert!(text("vfio-user-ixgbe.1").contains("LISTEN_FDS"));
        assert!(text("vhost-user-ixgbe.1").contains("\\-\\-socket"));
        assert!(text("vfio-user-ixgbe.bash").contains("--doorbells"));
        assert!(text("_vhost-user-ixgbe").contains("--rx"));
        assert!(text("vhost-user-ixgbe.fish").contains("-l rx"));
    }
}
