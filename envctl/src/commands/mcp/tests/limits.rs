//! Limits of the policy, whoever else asks.

use envelope_mcp::{Caller, Server};
use serde_json::{Value, json};
use tokio::runtime::Runtime;

use super::{
    super::facade,
    client::Client,
    installed::{Installed, Sealed},
};

const POLICY: &str = r#"
version = 1
[[rule]]
name = "agents-look"
effect = "allow"
actor = ["mcp:*"]
operation = ["look"]
limit = "4/d"
"#;

async fn describe(server: &Server, name: &str) -> Result<Value, Value> {
    let mut client = Client::at_standard_input(server.for_client(Caller::named(name).unwrap())).await;
    client.call("describe_key", &json!({ "key": "main" })).await.0
}

#[test]
fn a_limit_counts_on_however_many_clients_come_meanwhile() {
    let folder = tempfile::tempdir().unwrap();
    let sealed = Sealed { plaintext: "data", withheld: "1" };
    let installed = Installed::create(folder.path(), "correct horse battery staple", &sealed, "");
    installed.write("policy.toml", POLICY);
    let server = Server::for_each_request(facade(&installed.global(&[])).unwrap());
    Runtime::new().unwrap().block_on(async {
        let mut asked = 0;
        let error = loop {
            match describe(&server, "first").await {
                Ok(_) => asked += 1,
                Err(error) => break error,
            }
        };
        assert!((1..=4).contains(&asked), "{asked}");
        let says = error["message"].as_str().unwrap();
        assert!(says.contains("less often: try again later"), "{says}");
        // More than are remembered.
        for other in 0..80 {
            describe(&server, &format!("other-{other}")).await.unwrap();
        }
        let error = describe(&server, "first").await.unwrap_err();
        assert!(error["message"].as_str().unwrap().contains("less often: try again later"), "{error}");
    });
}
