//! A server of two tools, one of which says who calls it.

use std::sync::Arc;

use envelope_mcp::{Caller, net::Client};
use rmcp::{
    ErrorData, RoleServer, ServerHandler,
    model::{
        CallToolRequestParams, CallToolResponse, CallToolResult, ContentBlock, ListToolsResult,
        PaginatedRequestParams, ServerCapabilities, ServerConfig, Tool,
    },
    service::RequestContext,
};
use tokio::sync::Notify;

/// `whoami` answers with the name in the certificate, `wait` when it is let go.
#[derive(Clone, Default)]
pub(crate) struct Handler {
    pub(crate) begun: Arc<Notify>,
    pub(crate) go_on: Arc<Notify>,
    pub(crate) dropped: Arc<Notify>,
}

impl ServerHandler for Handler {
    fn get_info(&self) -> ServerConfig {
        ServerConfig::new(ServerCapabilities::builder().enable_tools().build())
    }

    async fn list_tools(
        &self,
        _: Option<PaginatedRequestParams>,
        _: RequestContext<RoleServer>,
    ) -> Result<ListToolsResult, ErrorData> {
        let tool = |name: &'static str| {
            Tool::new(name, "a tool of a test", Arc::new(rmcp::model::JsonObject::new()))
        };
        Ok(ListToolsResult::with_all_items(vec![tool("whoami"), tool("wait")]))
    }

    async fn call_tool(
        &self,
        request: CallToolRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        if request.name == "wait" {
            let _dropped = NotifyOnDrop(Arc::clone(&self.dropped));
            self.begun.notify_one();
            tokio::select! {
                () = self.go_on.notified() => {}
                () = context.ct.cancelled() => {}
            }
        }
        let parts = context.extensions.get::<http::request::Parts>();
        let client = parts.and_then(|parts| parts.extensions.get::<Client>());
        let caller = parts.and_then(|parts| parts.extensions.get::<Caller>());
        assert_eq!(caller, client.map(Client::caller));
        let name = client.map_or("nobody", Client::name).to_owned();
        Ok(CallToolResult::success(vec![ContentBlock::text(name)]).into())
    }
}

struct NotifyOnDrop(Arc<Notify>);

impl Drop for NotifyOnDrop {
    fn drop(&mut self) {
        self.0.notify_one();
    }
}
