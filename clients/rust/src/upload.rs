use std::time::Duration;

use prost::bytes::Bytes;
use prost::{Message, Name};
use ring::digest::{SHA256, digest};
use tokio::time::{Instant, sleep_until};

use crate::client::{Client, decode, new_request_id};
use crate::errors::Error;
use crate::google::longrunning::{
    CancelOperationRequest, GetOperationRequest, ListOperationsRequest, ListOperationsResponse, Operation, WaitOperationRequest,
    operation,
};
use crate::knowledge::v1::{DocumentMetadata, UploadDocumentRequest, UploadFinish, UploadStart, upload_document_request::Part};

const CHUNK_BYTES: usize = 256 << 10;
const WAIT_STEP: Duration = Duration::from_secs(20);
/// Without a pause, the calls of `wait` would flood a server that answers at once.
const WAIT_PAUSE: Duration = Duration::from_millis(50);

impl Client {
    /// Sends a document of at most 64 MiB, and sends it again after a lost connection. The metadata's source_key identifies the document in its collection. `wait` waits
    /// until search finds the document.
    pub async fn upload(&self, content: impl Into<Bytes>, metadata: DocumentMetadata) -> Result<Operation, Error> {
        let content = content.into();
        let size_bytes = content.len() as i64;
        let start = UploadStart { metadata: Some(metadata), size_bytes: Some(size_bytes), request_id: new_request_id() };
        let finish = UploadFinish { size_bytes, sha256: digest(&SHA256, &content).as_ref().into() };
        let reply = self.repeat(None, true, || {
            let rest = content.clone();
            let chunks = (0..content.len()).step_by(CHUNK_BYTES);
            let chunks = chunks.map(move |at| Part::Chunk(rest[at..rest.len().min(at + CHUNK_BYTES)].into()));
            let parts = [Part::Start(start.clone())].into_iter().chain(chunks).chain([Part::Finish(finish.clone())]);
            let messages = parts.map(|part| UploadDocumentRequest { part: Some(part) }.encode_to_vec().into());
            self.send("/responsa.knowledge.v1.KnowledgeService/UploadDocument", tokio_stream::iter(messages), None)
        });
        decode(reply.await?)
    }

    /// Waits until an operation has ended, and returns its result, such as an `IngestResult`. The error is the operation's own, or that of a call; the operation then continues.
    pub async fn wait<R: Name + Default>(&self, mut operation: Operation) -> Result<R, Error> {
        let timeout = WAIT_STEP.min(self.config().timeout / 2).try_into().ok();
        while !operation.done {
            let again = Instant::now() + WAIT_PAUSE;
            operation = self.call_operations("WaitOperation", &WaitOperationRequest { name: operation.name, timeout }).await?;
            if !operation.done {
                sleep_until(again).await;
            }
        }
        match operation.result {
            Some(operation::Result::Error(status)) => Err(status.into()),
            Some(operation::Result::Response(result)) => result.to_msg().map_err(|error| Error::broken(error.to_string())),
            None => Err(Error::broken(format!("{} has ended without a result.", operation.name))),
        }
    }

    /// The operation with this name, `operations/{uuid}`.
    pub async fn get_operation(&self, request: GetOperationRequest) -> Result<Operation, Error> {
        self.call_operations("GetOperation", &request).await
    }

    /// A page of the caller's operations, newest first; for an administrator, of all operations of the tenant.
    pub async fn list_operations(&self, request: ListOperationsRequest) -> Result<ListOperationsResponse, Error> {
        self.call_operations("ListOperations", &request).await
    }

    /// Cancels an operation. Afterwards, `wait` fails unless the operation had already ended.
    pub async fn cancel_operation(&self, request: CancelOperationRequest) -> Result<(), Error> {
        self.call_operations("CancelOperation", &request).await
    }

    async fn call_operations<R: Message + Default>(&self, method: &str, request: &impl Message) -> Result<R, Error> {
        self.call(&format!("/google.longrunning.Operations/{method}"), true, request).await
    }
}
