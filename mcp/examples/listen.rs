//! A server over mTLS with one tool, for clients to be tried against: `listen FOLDER [ADDRESS]`, with what `scripts/mcp-certificates`
//! writes into FOLDER. Says where it listens, and tells on standard error of each event; ends with standard input.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "an example talks to who runs it")]

use std::{env, io::Read, path::PathBuf, sync::Arc};

use async_trait::async_trait;
use envelope_mcp::{
    Event, Failure, Recorder,
    net::{Admission, Client, CredentialFiles, ListenOptions, Server},
};
use rmcp::{
    ErrorData, RoleServer, ServerHandler,
    model::{
        CallToolRequestParams, CallToolResponse, CallToolResult, ContentBlock, JsonObject, ListToolsResult,
        PaginatedRequestParams, ServerCapabilities, ServerConfig, Tool,
    },
    service::RequestContext,
};
use tokio_util::sync::CancellationToken;

struct Everybody;

impl Admission for Everybody {
    fn admit(&self, _: &Client) -> Result<(), Failure> {
        Ok(())
    }
}

struct Told;

#[async_trait]
impl Recorder for Told {
    async fn record(&self, event: &Event) -> Result<(), Failure> {
        eprintln!("{event:?}");
        Ok(())
    }
}

struct WhoAmI;

impl ServerHandler for WhoAmI {
    fn get_info(&self) -> ServerConfig {
        ServerConfig::new(ServerCapabilities::builder().enable_tools().build())
    }

    async fn list_tools(
        &self,
        _: Option<PaginatedRequestParams>,
        _: RequestContext<RoleServer>,
    ) -> Result<ListToolsResult, ErrorData> {
        let schema: JsonObject =
            serde_json::from_value(serde_json::json!({ "type": "object" })).unwrap_or_default();
        Ok(ListToolsResult::with_all_items(vec![Tool::new(
            "whoami",
            "The name in the certificate",
            Arc::new(schema),
        )]))
    }

    async fn call_tool(
        &self,
        _: CallToolRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        let parts = context.extensions.get::<http::request::Parts>();
        let client = parts.and_then(|parts| parts.extensions.get::<Client>());
        let name = client.map_or("nobody", Client::name).to_owned();
        Ok(CallToolResult::success(vec![ContentBlock::text(name)]).into())
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = env::args().skip(1);
    let folder = PathBuf::from(arguments.next().ok_or("listen FOLDER [ADDRESS]")?);
    let address = arguments.next().unwrap_or_else(|| "127.0.0.1:0".into()).parse()?;
    let files = CredentialFiles {
        certificate: folder.join("server.pem"),
        key: folder.join("server.key"),
        ca: folder.join("ca.pem"),
        crl: Some(folder.join("crl.pem")),
        accept_stale_crl: false,
    };
    let server =
        Server::new(ListenOptions::new(address, files), Arc::new(Everybody), Arc::new(Told), || WhoAmI)?;
    let listener = server.bind().await?;
    println!("https://{}/mcp", listener.local_addr()?);
    let stop = CancellationToken::new();
    let ended = stop.clone();
    std::thread::spawn(move || {
        let _ = std::io::stdin().read_to_end(&mut Vec::new());
        ended.cancel();
    });
    server.run(listener, stop).await?;
    Ok(())
}
