//! FIPS endpoints, and the FIPS module with the cargo feature `fips`, which
//! `scripts/test` does not build: it needs Go and CMake.

use super::*;

#[test]
fn an_endpoint_of_ones_own_is_taken_as_it_is_beside_fips_endpoints() {
    let Some(address) = servers::address("LOCALSTACK") else { return };
    let kms = at(&address).fips_endpoints(true).build();
    create(&kms);
}

#[cfg(feature = "fips")]
#[test]
fn the_engine_is_the_fips_module_of_aws_lc() {
    // The crate that the core's engine calls too: cargo builds one of it for both.
    assert_eq!(aws_lc_rs::try_fips_mode(), Ok(()));
}
