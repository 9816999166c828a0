//! Open sets of codes with names, as specifications have them.

/// Declares a code as a transparent integer with named values. Anything a device sends is a value; `Display` says its
/// name, or the number where it has none. The crate that declares one needs `zerocopy`.
#[macro_export]
macro_rules! codes {
    (
        $(#[$outer:meta])*
        pub struct $name:ident: $int:ty {
            $($(#[$inner:meta])* $code:ident = $value:expr, $text:literal;)*
        }
    ) => {
        $(#[$outer])*
        #[derive(
            Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash,
            ::zerocopy::FromBytes, ::zerocopy::IntoBytes, ::zerocopy::Immutable, ::zerocopy::KnownLayout,
        )]
        #[repr(transparent)]
        pub struct $name(pub $int);

        impl $name {
            $(
                #[doc = concat!($text, ".")]
                $(#[$inner])*
                pub const $code: $name = $name($value);
            )*

            /// Its name in the specification, if it has one.
            pub const fn name(self) -> Option<&'static str> {
                match self {
                    $($name::$code => Some($text),)*
                    _ => None,
                }
            }
        }

        impl ::std::fmt::Debug for $name {
            fn fmt(&self, f: &mut ::std::fmt::Formatter<'_>) -> ::std::fmt::Result {
                ::std::fmt::Display::fmt(self, f)
            }
        }
    };
}

/// `Display` of a code: "Identify (0x06)", or "unknown (0x7e)".
#[macro_export]
macro_rules! display_code {
    ($($name:ident),*) => {$(
        impl ::std::fmt::Display for $name {
            fn fmt(&self, f: &mut ::std::fmt::Formatter<'_>) -> ::std::fmt::Result {
                write!(f, "{} ({:#04x})", self.name().unwrap_or("unknown"), self.0)
            }
        }
    )*};
}
