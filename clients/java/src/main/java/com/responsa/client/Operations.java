package com.responsa.client;

import com.google.longrunning.CancelOperationRequest;
import com.google.longrunning.DeleteOperationRequest;
import com.google.longrunning.GetOperationRequest;
import com.google.longrunning.ListOperationsRequest;
import com.google.longrunning.ListOperationsResponse;
import com.google.longrunning.Operation;
import com.google.longrunning.OperationsGrpc;
import com.google.longrunning.WaitOperationRequest;
import java.time.Duration;

/** google.longrunning.Operations: uploads and other work that outlives its call. */
public final class Operations {
    private final Calls calls;
    private final Duration timeout;

    Operations(Calls calls, Duration timeout) {
        this.calls = calls;
        this.timeout = timeout;
    }

    /** The same calls, with this time for each instead of the client's. */
    public Operations withDeadlineAfter(Duration timeout) {
        return new Operations(calls, timeout);
    }

    public Operation getOperation(GetOperationRequest request) {
        return calls.unary(OperationsGrpc.getGetOperationMethod(), request, true, timeout);
    }

    public ListOperationsResponse listOperations(ListOperationsRequest request) {
        return calls.unary(OperationsGrpc.getListOperationsMethod(), request, true, timeout);
    }

    public void cancelOperation(CancelOperationRequest request) {
        calls.unary(OperationsGrpc.getCancelOperationMethod(), request, true, timeout);
    }

    public void deleteOperation(DeleteOperationRequest request) {
        calls.unary(OperationsGrpc.getDeleteOperationMethod(), request, true, timeout);
    }

    /** Waits until the operation has ended, or for the request's timeout. */
    public Operation waitOperation(WaitOperationRequest request) {
        return calls.unary(OperationsGrpc.getWaitOperationMethod(), request, true, timeout);
    }
}
