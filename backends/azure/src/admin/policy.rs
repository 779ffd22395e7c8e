//! The rotation policy of a key, as a vault writes it: other actions than those known here
//! stay as they are, and the names of actions have no case (Microsoft's client takes one
//! spelling of two of them).

use serde::{Deserialize, Serialize};

/// A rotation policy.
#[derive(Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Policy {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    lifetime_actions: Option<Vec<Action>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    attributes: Option<Attributes>,
}

#[derive(Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Attributes {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    expiry_time: Option<String>,
}

#[derive(Clone, Default, Serialize, Deserialize)]
struct Action {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    trigger: Option<Trigger>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    action: Option<Kind>,
}

#[derive(Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Trigger {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    time_after_create: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    time_before_expiry: Option<String>,
}

#[derive(Clone, Default, Serialize, Deserialize)]
struct Kind {
    #[serde(default, rename = "type", skip_serializing_if = "Option::is_none")]
    name: Option<String>,
}

impl Policy {
    /// The same with a rotation every so many days, or with none.
    pub(super) fn rotating(mut self, days: Option<u32>) -> Self {
        let mut actions = self.lifetime_actions.take().unwrap_or_default();
        actions.retain(|action| !action.rotates());
        if let Some(days) = days {
            let after = Some(format!("P{days}D"));
            actions.push(Action {
                trigger: Some(Trigger { time_after_create: after, time_before_expiry: None }),
                action: Some(Kind { name: Some(ROTATE.to_owned()) }),
            });
        }
        self.lifetime_actions = Some(actions);
        self
    }

    /// After which time it rotates, in Azure's form (ISO 8601): after the version was
    /// made, or before it expires.
    pub(super) fn period(&self) -> Option<String> {
        let action = self.actions().iter().find(|action| action.rotates())?;
        let trigger = action.trigger.clone().unwrap_or_default();
        let before = || trigger.time_before_expiry.map(|time| format!("{time} before the expiry"));
        Some(trigger.time_after_create.or_else(before).unwrap_or_default())
    }

    /// When a new version expires.
    pub(super) fn expiry(&self) -> Option<&str> {
        self.attributes.as_ref()?.expiry_time.as_deref()
    }

    /// What of this one is not as it was set. A vault may add actions that do not rotate.
    pub(super) fn differs_from(&self, set: &Self) -> Option<&'static str> {
        let rotations = |policy: &Self| policy.actions().iter().filter(|action| action.rotates()).count();
        let has = |action: &Action| self.actions().iter().any(|other| action.is_as(other));
        if rotations(set) != rotations(self) {
            Some("whether the key rotates by itself")
        } else if set.actions().iter().any(|action| action.rotates() && !has(action)) {
            Some("when the key rotates")
        } else if !set.actions().iter().all(has) {
            Some("another action of the policy")
        } else if !same_time(set.expiry(), self.expiry()) {
            Some("the expiry of new versions")
        } else {
            None
        }
    }

    fn actions(&self) -> &[Action] {
        self.lifetime_actions.as_deref().unwrap_or_default()
    }
}

impl Action {
    fn name(&self) -> &str {
        self.action.as_ref().and_then(|kind| kind.name.as_deref()).unwrap_or_default()
    }

    fn rotates(&self) -> bool {
        self.name().eq_ignore_ascii_case(ROTATE)
    }

    fn is_as(&self, other: &Self) -> bool {
        let times = |action: &Self| {
            let trigger = action.trigger.clone().unwrap_or_default();
            (trigger.time_after_create, trigger.time_before_expiry)
        };
        let ((after, before), (other_after, other_before)) = (times(self), times(other));
        self.name().eq_ignore_ascii_case(other.name())
            && same_time(after.as_deref(), other_after.as_deref())
            && same_time(before.as_deref(), other_before.as_deref())
    }
}

/// In the same words, or of as many days.
fn same_time(one: Option<&str>, other: Option<&str>) -> bool {
    one == other || one.and_then(days_of).is_some_and(|days| other.and_then(days_of) == Some(days))
}

/// The days of `P…D`. Months and years have no fixed number of them.
pub(super) fn days_of(period: &str) -> Option<u32> {
    period.strip_prefix('P')?.strip_suffix('D')?.parse().ok()
}

const ROTATE: &str = "Rotate";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_alone_are_told_as_days() {
        for (period, days) in [("P90D", Some(90)), ("P18M", None), ("P2Y", None), ("", None), ("P1Y2D", None)]
        {
            assert_eq!(days_of(period), days, "{period}");
        }
    }

    #[test]
    fn names_of_actions_have_no_case_and_those_that_are_not_known_stay() {
        let text = r#"{"id":"x","lifetimeActions":[{"trigger":{"timeAfterCreate":"P30D"},"action":{"type":"rotate"}},
            {"trigger":{"timeBeforeExpiry":"P7D"},"action":{"type":"Sing"}}],"attributes":{"expiryTime":"P60D","created":1}}"#;
        let policy: Policy = serde_json::from_str(text).unwrap();
        assert_eq!((policy.period().as_deref(), policy.expiry()), (Some("P30D"), Some("P60D")));
        let set = policy.clone().rotating(Some(90));
        assert_eq!(set.differs_from(&policy), Some("when the key rotates"));
        let written = serde_json::to_string(&set).unwrap();
        assert_eq!(
            written,
            r#"{"lifetimeActions":[{"trigger":{"timeBeforeExpiry":"P7D"},"action":{"type":"Sing"}},{"trigger":{"timeAfterCreate":"P90D"},"action":{"type":"Rotate"}}],"attributes":{"expiryTime":"P60D"}}"#
        );
        let told: Policy =
            serde_json::from_str(&written.replace("Rotate", "rotate").replace("P90D", "P090D")).unwrap();
        assert_eq!(told.differs_from(&set), None);
        assert_eq!(policy.rotating(None).period(), None);
    }
}
