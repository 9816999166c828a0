//! The OS boundary of the Red Bear drivers.
