//! The tools. Each reads; none has a way to do anything else.

mod audit;
mod doctor;
mod envelopes;
mod explain;
mod find;
mod inspect;
mod keys;
mod plan;
mod policy;
mod status;
mod usage;

use std::{
    future::Future,
    pin::Pin,
    sync::{Arc, LazyLock},
};

use rmcp::model::{JsonObject, Tool as Described, ToolAnnotations};
use schemars::{JsonSchema, generate::SchemaSettings};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;

use crate::{Failure, Kind, Look, answer::MAX_ANSWER, call::Call, words};

/// A tool: a question that is a type, and an answer that is one.
pub(crate) trait Tool: 'static {
    /// As clients call it.
    const NAME: &'static str;
    /// For people.
    const TITLE: &'static str;
    /// For models: what it tells, and what it does not.
    const DESCRIPTION: &'static str;
    /// What the policy is asked for the call as a whole; `None` where it is asked of each key.
    const ASKS: Option<Look>;
    type Input: DeserializeOwned + JsonSchema + Send;
    type Output: Serialize + JsonSchema + Send;

    fn call(call: Call, input: Self::Input) -> impl Future<Output = Result<Self::Output, Failure>> + Send;
}

type Answer = Pin<Box<dyn Future<Output = Result<Value, Failure>> + Send>>;

/// A tool whose types are forgotten.
pub(crate) struct Registered {
    pub(crate) described: Described,
    pub(crate) asks: Option<Look>,
    call: fn(Call, JsonObject) -> Answer,
}

impl Registered {
    fn of<T: Tool>() -> Self {
        let annotations = ToolAnnotations::with_title(T::TITLE).read_only(true).destructive(false);
        let annotations = annotations.idempotent(true).open_world(false);
        let described = Described::new(T::NAME, T::DESCRIPTION, schema::<T::Input>())
            .with_title(T::TITLE)
            .with_raw_output_schema(schema::<T::Output>())
            .with_annotations(annotations);
        Self { described, asks: T::ASKS, call: |call, arguments| Box::pin(run::<T>(call, arguments)) }
    }

    /// The answer, safe to show and bounded.
    pub(crate) fn call(&self, call: Call, arguments: JsonObject) -> Answer {
        (self.call)(call, arguments)
    }
}

/// Every tool, by name.
pub(crate) fn all() -> Arc<[Registered]> {
    Arc::clone(&ALL)
}

/// Their schemas take two milliseconds to make, and are the same for every server.
static ALL: LazyLock<Arc<[Registered]>> = LazyLock::new(|| {
    let all = [
        Registered::of::<audit::AuditSearch>(),
        Registered::of::<audit::AuditVerify>(),
        Registered::of::<keys::DescribeKey>(),
        Registered::of::<doctor::Doctor>(),
        Registered::of::<explain::ExplainError>(),
        Registered::of::<find::FindEnvelopes>(),
        Registered::of::<inspect::InspectEnvelope>(),
        Registered::of::<usage::KeyUsage>(),
        Registered::of::<keys::KeysDue>(),
        Registered::of::<keys::ListKeys>(),
        Registered::of::<policy::PolicyExplain>(),
        Registered::of::<plan::RotationPlan>(),
        Registered::of::<status::RotationStatus>(),
    ];
    all.into()
});

async fn run<T: Tool>(call: Call, arguments: JsonObject) -> Result<Value, Failure> {
    // What is wrong is told without the value, which may be anything.
    let input = serde_json::from_value(Value::Object(arguments)).map_err(|error| wrong_arguments(&error))?;
    let output = T::call(call, input).await?;
    let mut answer =
        serde_json::to_value(output).map_err(|error| Failure::new(Kind::Other, error.to_string()))?;
    // A cursor has letters, digits, `-` and `_` alone. Cut like a foreign word, it would lead nowhere.
    let cursor = answer.get_mut("next_cursor").map(Value::take);
    let mut answer = words::clean(answer);
    if let (Some(cursor), Some(place)) = (cursor, answer.get_mut("next_cursor")) {
        *place = cursor;
    }
    if answer.to_string().len() > MAX_ANSWER {
        return Err(Failure::new(Kind::Other, "the answer is longer than an answer may be")
            .hint("ask for less: a smaller `limit`"));
    }
    Ok(answer)
}

fn wrong_arguments(error: &serde_json::Error) -> Failure {
    // Values are quoted in it: of a type that is wrong, the kind says enough.
    let said = error.to_string();
    let said = match said.split_once(": ") {
        Some((kind @ ("invalid type" | "invalid value"), found)) => {
            format!("{kind}: {}", found.rsplit_once(", expected ").map_or("", |(_, expected)| expected))
        }
        _ => said,
    };
    Failure::usage(format!("the arguments do not fit: {}", words::shown(&said, words::MAX_NAME)))
        .hint("the input schema of the tool says what it takes")
}

/// Draft 2020-12, without references, which some clients do not follow.
fn schema<T: JsonSchema>() -> Arc<JsonObject> {
    let settings = SchemaSettings::draft2020_12().with(|settings| settings.inline_subschemas = true);
    let mut schema = match serde_json::to_value(settings.into_generator().into_root_schema_for::<T>()) {
        Ok(Value::Object(schema)) => schema,
        _ => JsonObject::new(),
    };
    schema.remove("title");
    schema.values_mut().for_each(without_formats);
    Arc::new(schema)
}

/// `uint32` and its like are of no standard, and some clients warn of them: the bounds beside them say the same.
fn without_formats(value: &mut Value) {
    match value {
        Value::Object(members) => {
            if members.get("format").is_some_and(Value::is_string) {
                members.remove("format");
            }
            members.values_mut().for_each(without_formats);
        }
        Value::Array(values) => values.iter_mut().for_each(without_formats),
        _ => {}
    }
}
