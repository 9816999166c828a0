//! The file system and TCP (landlock(7)).

use std::path::{Path, PathBuf};

use landlock::{
    ABI, Access, AccessFs, AccessNet, BitFlags, PathBeneath, PathFd, Ruleset, RulesetAttr, RulesetCreated,
    RulesetCreatedAttr, RulesetError, RulesetStatus,
};

/// The newest ABI whose rights are asked for; an older kernel gives what it has.
const NEWEST: ABI = ABI::V5;

/// Closes the file system but for `readable` and `writable`, and all of TCP.
pub(super) fn restrict(readable: &[PathBuf], writable: &[PathBuf]) -> Result<String, String> {
    let apply = || -> Result<(RulesetStatus, Vec<&Path>), RulesetError> {
        let mut ruleset = Ruleset::default()
            .handle_access(AccessFs::from_all(NEWEST))?
            .handle_access(AccessNet::from_all(NEWEST))?
            .create()?;
        let mut absent = Vec::new();
        for (paths, access) in
            [(readable, AccessFs::from_read(NEWEST)), (writable, AccessFs::from_all(NEWEST))]
        {
            for path in paths {
                match PathFd::new(path) {
                    Ok(fd) => ruleset = allow(ruleset, fd, path, access)?,
                    Err(_) => absent.push(path.as_path()),
                }
            }
        }
        Ok((ruleset.restrict_self()?.ruleset, absent))
    };
    let (status, absent) = apply().map_err(|error| error.to_string())?;
    let absent: String = absent.iter().map(|path| format!(" without absent {}", path.display())).collect();
    match status {
        RulesetStatus::FullyEnforced => Ok(format!("full{absent}")),
        RulesetStatus::PartiallyEnforced => Ok(format!("as far as this kernel has it{absent}")),
        RulesetStatus::NotEnforced => Err("not in this kernel".to_owned()),
    }
}

fn allow(
    ruleset: RulesetCreated,
    fd: PathFd,
    path: &Path,
    access: BitFlags<AccessFs>,
) -> Result<RulesetCreated, RulesetError> {
    // Rights over entries of a directory mean nothing for a file, and asking for them counts as a partial success.
    let access = if path.is_dir() { access } else { access & AccessFs::from_file(NEWEST) };
    ruleset.add_rule(PathBeneath::new(fd, access))
}
