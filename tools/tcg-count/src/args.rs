//! The arguments after `-plugin libtcg_count.so`.

use std::path::PathBuf;

/// What the user asked for.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Args {
    /// File that receives one line per window.
    pub(crate) out: PathBuf,
    /// Whether memory-mapped I/O is counted: a call for every memory access makes the guest about 1.7 times slower.
    pub(crate) mmio: bool,
    /// The only vCPU that counts, or all of them.
    pub(crate) vcpu: Option<u32>,
}

impl Args {
    /// Reads `key=value` strings; the error is a sentence for the user.
    pub(crate) fn parse<'a>(args: impl IntoIterator<Item = &'a str>) -> Result<Self, String> {
        let mut out = None;
        let mut mmio = false;
        let mut vcpu = None;
        for arg in args {
            let (key, value) = arg
                .split_once('=')
                .ok_or_else(|| format!("argument `{arg}` is not of the form key=value"))?;
            match key {
                "out" => out = Some(PathBuf::from(value)),
                "mmio" => {
                    mmio = match value {
                        "on" => true,
                        "off" => false,
                        _ => return Err(format!("mmio=`{value}` is neither on nor off")),
                    }
                }
                "vcpu" => {
                    vcpu = Some(
                        value
                            .parse()
                            .map_err(|error| format!("vcpu=`{value}` is no vCPU number: {error}"))?,
                    );
                }
                _ => return Err(format!("unknown argument `{key}`: there are out, mmio and vcpu")),
            }
        }
        let out = out.ok_or("out=FILE is missing")?;
        Ok(Self { out, mmio, vcpu })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_all_arguments() {
        let args = Args::parse(["out=/tmp/a=b", "mmio=on", "vcpu=1"]).unwrap();
        assert_eq!(args, Args { out: PathBuf::from("/tmp/a=b"), mmio: true, vcpu: Some(1) });
    }

    #[test]
    fn counts_no_mmio_unless_asked() {
        let args = Args::parse(["out=x"]).unwrap();
        assert!(!args.mmio);
        assert_eq!(args.vcpu, None);
    }

    #[test]
    fn names_what_is_wrong() {
        assert!(Args::parse([]).unwrap_err().contains("out=FILE"));
        assert!(Args::parse(["out"]).unwrap_err().contains("`out`"));
        assert!(Args::parse(["out=x", "mmio=1"]).unwrap_err().contains("mmio=`1`"));
        assert!(Args::parse(["out=x", "vcpu=-1"]).unwrap_err().contains("vcpu=`-1`"));
        assert!(Args::parse(["out=x", "cpu=1"]).unwrap_err().contains("`cpu`"));
    }
}
