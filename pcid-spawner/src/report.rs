//! What `list` and `--dry-run` print.

use std::fmt::Write;

use crate::{bind::VFIO_PCI, pci::Function, plan::Candidate};

/// A line for every function: where, what, bound to which driver, in which IOMMU group, claimed by which entry.
pub fn list(candidates: &[Candidate]) -> String {
    let mut text = String::new();
    for Candidate { function, claim } in candidates {
        let Function { address, id, .. } = function;
        let driver = function.driver().unwrap_or_else(|| "-".to_owned());
        let group = function.iommu_group().map_or_else(|| "-".to_owned(), |group| group.to_string());
        let claim = match claim {
            None => "-".to_owned(),
            Some(claim) => {
                let entry = &claim.entry;
                let mut text = format!("{} ({}:{})", entry.driver.label(), entry.file.display(), entry.line);
                if let Some(refusal) = &claim.refusal {
                    // A String takes whatever is written to it.
                    let _ = write!(text, "; left alone: {refusal}");
                }
                text
            }
        };
        let _ = writeln!(text, "{address}  {id}  driver {driver:<12} group {group:<3} {claim}");
    }
    text
}

/// A line for every function that is claimed: what would be done with it.
pub fn dry_run(candidates: &[Candidate]) -> String {
    let mut text = String::new();
    for Candidate { function, claim } in candidates {
        let Some(claim) = claim else { continue };
        let address = function.address;
        let _ = match (&claim.refusal, function.driver()) {
            (Some(refusal), _) => writeln!(text, "{address}: would be left alone: {refusal}"),
            (None, driver) => {
                let bind = match driver.as_deref() {
                    Some(VFIO_PCI) => String::new(),
                    Some(driver) => format!("unbind from {driver}, bind to {VFIO_PCI}, "),
                    None => format!("bind to {VFIO_PCI}, "),
                };
                let program = claim.program.display();
                let args: String = claim.entry.driver.args().iter().map(|arg| format!(" {arg}")).collect();
                writeln!(text, "{address}: would {bind}start {program}{args} --device {address}")
            }
        };
    }
    text
}
