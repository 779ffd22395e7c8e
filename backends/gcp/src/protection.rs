//! [`Protection`]: where key material lives.

use std::fmt;

use google_cloud_kms_v1::model::ProtectionLevel;

/// Where the material of a key lives and works: Google's protection levels
/// (<https://cloud.google.com/kms/docs/protection-levels>).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Protection {
    /// In software.
    Software,
    /// In a Cloud HSM, validated to FIPS 140-2 level 3.
    Hsm,
    /// In an external key manager that Google reaches over the internet.
    External,
    /// In an external key manager that Google reaches over a VPC.
    ExternalVpc,
    /// In a single-tenant Cloud HSM.
    HsmSingleTenant,
}

impl Protection {
    /// Every level.
    pub const ALL: [Self; 5] =
        [Self::Software, Self::Hsm, Self::External, Self::ExternalVpc, Self::HsmSingleTenant];

    /// The name in settings and options: `software`, `hsm`, `external`,
    /// `external-vpc` or `hsm-single-tenant`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Software => "software",
            Self::Hsm => "hsm",
            Self::External => "external",
            Self::ExternalVpc => "external-vpc",
            Self::HsmSingleTenant => "hsm-single-tenant",
        }
    }

    /// The level of that [`name`](Self::name), spelled exactly.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|level| level.name() == name)
    }

    /// `None` for a level that this version does not know, or none at all.
    pub(crate) fn of(level: &ProtectionLevel) -> Option<Self> {
        Self::ALL.into_iter().find(|known| known.level() == *level)
    }

    pub(crate) fn level(self) -> ProtectionLevel {
        match self {
            Self::Software => ProtectionLevel::Software,
            Self::Hsm => ProtectionLevel::Hsm,
            Self::External => ProtectionLevel::External,
            Self::ExternalVpc => ProtectionLevel::ExternalVpc,
            Self::HsmSingleTenant => ProtectionLevel::HsmSingleTenant,
        }
    }

    /// Whether the material is in a key manager that Google does not run.
    pub(crate) const fn is_external(self) -> bool {
        matches!(self, Self::External | Self::ExternalVpc)
    }
}

impl fmt::Display for Protection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_level_has_a_name_and_is_read_back() {
        for level in Protection::ALL {
            assert_eq!(Protection::from_name(level.name()), Some(level));
            assert_eq!(Protection::of(&level.level()), Some(level));
        }
        assert_eq!(Protection::from_name("HSM"), None);
        assert_eq!(Protection::of(&ProtectionLevel::Unspecified), None);
        assert_eq!(Protection::of(&ProtectionLevel::from(99)), None);
    }
}
