//! `policy_explain`.

use super::Tool;
use crate::{Explanation, Failure, Look, Question, call::Call};

pub(super) struct PolicyExplain;

impl Tool for PolicyExplain {
    const NAME: &'static str = "policy_explain";
    const TITLE: &'static str = "Explain the policy";
    const DESCRIPTION: &'static str = "Tells what the policy decides for an actor, an operation and a key, by which rule, and what that rule requires. Nothing is done, \
        and no limit is counted.";
    const ASKS: Option<Look> = Some(Look::Survey);
    type Input = Question;
    type Output = Explanation;

    async fn call(call: Call, question: Question) -> Result<Explanation, Failure> {
        call.facade.policy.explain(&question)
    }
}
