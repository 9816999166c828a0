//! ASCII fields.

/// An ASCII field as text: without padding, with anything that is not printable ASCII replaced by `?`.
pub fn ascii(field: &[u8]) -> String {
    let end = field.iter().rposition(|&byte| byte != b' ' && byte != 0).map_or(0, |last| last + 1);
    let (text, _) = field.split_at(end);
    let printable = |&byte: &u8| if byte == b' ' || byte.is_ascii_graphic() { char::from(byte) } else { '?' };
    text.iter().map(printable).collect::<String>().trim_start().to_string()
}

#[cfg(test)]
mod tests {
    use super::ascii;

    #[test]
    fn padding_goes_and_control_characters_do_not_reach_a_terminal() {
        assert_eq!(ascii(b"Disk 7    "), "Disk 7");
        assert_eq!(ascii(b"nqn.2014\0\0\0"), "nqn.2014");
        assert_eq!(ascii(b"a\x1b[2Jb\xff"), "a?[2Jb?");
        assert_eq!(ascii(b"    "), "");
    }
}
