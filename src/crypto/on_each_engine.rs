//! Runs a test, written once, on every engine that is compiled in.

/// Makes `aws_lc::NAME` and `rust_crypto::NAME` of each generic function `NAME`.
macro_rules! on_each_engine {
    ($($name:ident),+ $(,)?) => {
        #[cfg(feature = "aws-lc")]
        mod aws_lc {
            $(#[test] fn $name() { super::$name::<crate::crypto::AwsLc>(); })+
        }
        #[cfg(feature = "rustcrypto")]
        mod rust_crypto {
            $(#[test] fn $name() { super::$name::<crate::crypto::RustCrypto>(); })+
        }
    };
}
