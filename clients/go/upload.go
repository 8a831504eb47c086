package responsa

import (
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"path/filepath"
	"time"

	knowledgev1 "responsa.example.org/contract/knowledge/v1"

	"cloud.google.com/go/longrunning/autogen/longrunningpb"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"
)

const (
	chunkBytes = 256 << 10
	waitStep   = 20 * time.Second
)

// Upload sends a document of at most 64 MiB, such as an *os.File or a *bytes.Reader, and sends it again after a lost connection. The metadata's source_key identifies the
// document in its collection; by default it is the file's name. Wait waits until search finds the document.
func (c *Client) Upload(ctx context.Context, content io.ReadSeeker, metadata *knowledgev1.DocumentMetadata) (*longrunningpb.Operation, error) {
	start := &knowledgev1.UploadStart{Metadata: proto.CloneOf(metadata), RequestId: NewRequestID()}
	if start.Metadata == nil {
		start.Metadata = &knowledgev1.DocumentMetadata{}
	}
	if file, ok := content.(interface{ Name() string }); ok && start.Metadata.GetSourceKey() == "" {
		start.Metadata.SourceKey = filepath.Base(file.Name())
	}
	if start.Metadata.GetSourceKey() == "" {
		return nil, errors.New("bytes need a source_key")
	}
	size, err := content.Seek(0, io.SeekEnd)
	if err != nil {
		return nil, err
	}
	start.SizeBytes = proto.Int64(size)
	var operation *longrunningpb.Operation
	var unreadable error // an error of the content is the caller's
	err = c.repeat(ctx, true, func() (err error) {
		operation, unreadable, err = c.send(ctx, content, start)
		return err
	})
	if unreadable != nil {
		return nil, unreadable
	}
	return operation, err
}

// send tries once to send a document.
func (c *Client) send(ctx context.Context, content io.ReadSeeker, start *knowledgev1.UploadStart) (operation *longrunningpb.Operation, unreadable, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	if _, err := content.Seek(0, io.SeekStart); err != nil {
		return nil, err, nil
	}
	sending, err := c.Knowledge.UploadDocument(ctx)
	if err != nil {
		return nil, nil, err
	}
	err = sending.Send(&knowledgev1.UploadDocumentRequest{Part: &knowledgev1.UploadDocumentRequest_Start{Start: start}})
	digest, size := sha256.New(), int64(0)
	for buffer := make([]byte, chunkBytes); err == nil; {
		count, failed := io.ReadFull(content, buffer)
		if failed != nil && failed != io.EOF && failed != io.ErrUnexpectedEOF {
			return nil, failed, nil
		}
		if count == 0 {
			break
		}
		digest.Write(buffer[:count])
		size += int64(count)
		err = sending.Send(&knowledgev1.UploadDocumentRequest{Part: &knowledgev1.UploadDocumentRequest_Chunk{Chunk: buffer[:count]}})
	}
	if err == nil {
		finish := &knowledgev1.UploadFinish{SizeBytes: size, Sha256: digest.Sum(nil)}
		err = sending.Send(&knowledgev1.UploadDocumentRequest{Part: &knowledgev1.UploadDocumentRequest_Finish{Finish: finish}})
	}
	if err != nil && err != io.EOF {
		return nil, nil, err
	}
	// After io.EOF, this returns the error that ended the call.
	operation, err = sending.CloseAndRecv()
	return operation, nil, err
}

// Wait waits until an operation has ended, and returns its result, such as a *knowledgev1.IngestResult. The error is the operation's own, or that ctx has ended; the operation
// then continues.
func (c *Client) Wait(ctx context.Context, operation *longrunningpb.Operation) (proto.Message, error) {
	for !operation.GetDone() {
		step, cancel := context.WithTimeout(ctx, c.config.Timeout+waitStep)
		began := time.Now()
		next, err := c.Operations.WaitOperation(step, &longrunningpb.WaitOperationRequest{Name: operation.GetName(), Timeout: durationpb.New(waitStep)})
		cancel()
		if err != nil {
			return nil, err
		}
		operation = next
		// The server may answer at once. Without a pause, the calls would flood it.
		if !operation.GetDone() && sleep(ctx, 50*time.Millisecond-time.Since(began)) != nil {
			return nil, newError(codes.DeadlineExceeded, ctx.Err(), "%s has not ended; it continues.", operation.GetName())
		}
	}
	if failed := operation.GetError(); failed != nil {
		return nil, ErrorOf(failed)
	}
	return operation.GetResponse().UnmarshalNew()
}
