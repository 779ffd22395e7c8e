//! Standard input and output: one message of JSON-RPC 2.0 in a line.
//!
//! What is no message is answered with an error of JSON-RPC, or ends the session where nothing can be read any more: nothing is
//! passed over in silence. A line is never held beyond [`MAX_MESSAGE`].

use std::{io, sync::Arc};

use envelope_sdk::printable;
use rmcp::{
    RoleServer,
    model::{ErrorCode, JsonRpcMessage},
    service::{QuitReason, RxJsonRpcMessage, ServerInitializeError, TxJsonRpcMessage, serve_server},
    transport::Transport,
};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufRead, AsyncBufReadExt, AsyncRead, AsyncWrite, AsyncWriteExt, BufReader},
    sync::{Mutex, mpsc},
};

use crate::{Server, answer::MAX_ANSWER, words};

/// Most bytes of a message: 1 MiB.
pub const MAX_MESSAGE: usize = 1 << 20;

/// How a session ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Ended {
    /// The client closed its end.
    Closed,
    /// The client did not begin as the protocol wants it.
    NotBegun,
}

/// Serves one client until it closes `input`, or something comes that no session goes on after.
///
/// # Errors
///
/// What the system says of `input` or `output`; [`InvalidData`](io::ErrorKind::InvalidData) for a message beyond
/// [`MAX_MESSAGE`].
pub async fn serve<R, W>(server: Server, input: R, output: W) -> io::Result<Ended>
where
    R: AsyncRead + Send + Unpin + 'static,
    W: AsyncWrite + Send + Unpin + 'static,
{
    let (send, messages) = mpsc::channel(1);
    let output = Arc::new(Mutex::new(output));
    // On a task of its own: rmcp drops the future that receives whenever there is something to send.
    let reading = tokio::spawn(read_all(BufReader::new(input), Arc::clone(&output), send));
    let lines = Lines { messages, output };
    let ended = match serve_server(server, lines).await {
        Ok(running) => match running.waiting().await {
            Ok(QuitReason::Closed | QuitReason::Cancelled) => Ok(Ended::Closed),
            Ok(_) => Err(io::Error::other("the session ended for a reason that is not known")),
            Err(error) => Err(io::Error::other(error)),
        },
        Err(ServerInitializeError::ConnectionClosed(_)) => Ok(Ended::Closed),
        Err(_) => Ok(Ended::NotBegun),
    };
    if !reading.is_finished() {
        // It waits for a client that is not heard any more.
        reading.abort();
    }
    match reading.await {
        Ok(Err(error)) => Err(error),
        _ => ended,
    }
}

/// The transport.
struct Lines<W> {
    messages: mpsc::Receiver<RxJsonRpcMessage<RoleServer>>,
    output: Arc<Mutex<W>>,
}

impl<W> Transport<RoleServer> for Lines<W>
where
    W: AsyncWrite + Send + Unpin + 'static,
{
    type Error = io::Error;

    fn send(
        &mut self,
        message: TxJsonRpcMessage<RoleServer>,
    ) -> impl Future<Output = Result<(), io::Error>> + Send + 'static {
        let output = Arc::clone(&self.output);
        async move { write(&output, &bounded(message)).await }
    }

    async fn receive(&mut self) -> Option<RxJsonRpcMessage<RoleServer>> {
        self.messages.recv().await
    }

    async fn close(&mut self) -> Result<(), io::Error> {
        self.output.lock().await.flush().await
    }
}

/// Hands messages on until the input ends or nobody takes them, and refuses what is none.
async fn read_all<R, W>(
    mut input: BufReader<R>,
    output: Arc<Mutex<W>>,
    send: mpsc::Sender<RxJsonRpcMessage<RoleServer>>,
) -> io::Result<()>
where
    R: AsyncRead + Unpin,
    W: AsyncWrite + Unpin,
{
    loop {
        let line = match next_line(&mut input).await {
            Ok(Some(line)) => line,
            Ok(None) => return Ok(()),
            Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                let what = "the message is longer than 1 MiB, and ends the session";
                write(&output, &refuse(None, ErrorCode::INVALID_REQUEST, what)).await?;
                return Err(io::Error::new(error.kind(), what));
            }
            Err(error) => return Err(error),
        };
        match read(&line) {
            Ok(Some(message)) => {
                if send.send(message).await.is_err() {
                    return Ok(());
                }
            }
            Ok(None) => {}
            Err(refusal) => write(&output, &refusal).await?,
        }
    }
}

/// Errors of the protocol repeat words of the request, which may be of any length.
fn bounded(message: TxJsonRpcMessage<RoleServer>) -> TxJsonRpcMessage<RoleServer> {
    match message {
        JsonRpcMessage::Error(mut error) => {
            error.error.message = words::shown(&error.error.message, words::MAX_STRING).into();
            error.error.data =
                error.error.data.map(words::clean).filter(|data| data.to_string().len() <= MAX_ANSWER);
            JsonRpcMessage::Error(error)
        }
        message => message,
    }
}

/// A message, nothing for a blank line, or the refusal.
fn read(line: &[u8]) -> Result<Option<RxJsonRpcMessage<RoleServer>>, Value> {
    if line.trim_ascii().is_empty() {
        return Ok(None);
    }
    let value: Value = serde_json::from_slice(line)
        .map_err(|_| refuse(None, ErrorCode::PARSE_ERROR, "the line is no JSON in UTF-8"))?;
    let Value::Object(members) = &value else {
        let what = if value.is_array() {
            "batches are not taken: a line is one message"
        } else {
            "a message is an object"
        };
        return Err(refuse(None, ErrorCode::INVALID_REQUEST, what));
    };
    let id = members.get("id").filter(|id| id.is_i64() || id.is_u64() || id.is_string()).cloned();
    let is_request = members.contains_key("method") && members.contains_key("id");
    let invalid = |what| refuse(id.as_ref(), ErrorCode::INVALID_REQUEST, what);
    if is_request && id.is_none() {
        return Err(invalid("the id of a request is a string or an integer"));
    }
    let message = serde_json::from_value::<RxJsonRpcMessage<RoleServer>>(value.clone());
    match message.map_err(|_| {
        invalid("the message is none of JSON-RPC 2.0, or its parameters do not fit its method")
    })? {
        // What has an id is to be answered.
        JsonRpcMessage::Notification(_) if is_request => Err(invalid("the parameters do not fit the method")),
        message => Ok(Some(message)),
    }
}

/// JSON-RPC 2.0, section 5.1: the id is null where none was read.
fn refuse(id: Option<&Value>, code: ErrorCode, what: &str) -> Value {
    json!({ "jsonrpc": "2.0", "id": id, "error": { "code": code.0, "message": what } })
}

/// A line without its end; `None` at the end of the input. What stands there without a line end is a line, too.
async fn next_line<R: AsyncBufRead + Unpin>(input: &mut R) -> io::Result<Option<Vec<u8>>> {
    let mut line = Vec::new();
    loop {
        let there = input.fill_buf().await?;
        if there.is_empty() {
            return Ok((!line.is_empty()).then_some(line));
        }
        let end = there.iter().position(|byte| *byte == b'\n');
        let taken = end.unwrap_or(there.len());
        if line.len() + taken > MAX_MESSAGE {
            return Err(io::ErrorKind::InvalidData.into());
        }
        line.extend_from_slice(&there[..taken]);
        input.consume(end.map_or(taken, |end| end + 1));
        if end.is_some() {
            return Ok(Some(line));
        }
    }
}

/// Whole lines, one at a time. Characters that hide something are escaped in the JSON, whoever wrote them.
async fn write<W: AsyncWrite + Unpin>(output: &Mutex<W>, message: &impl serde::Serialize) -> io::Result<()> {
    let mut line = printable::json(serde_json::to_string(message)?).into_bytes();
    line.push(b'\n');
    let mut output = output.lock().await;
    output.write_all(&line).await?;
    output.flush().await
}
