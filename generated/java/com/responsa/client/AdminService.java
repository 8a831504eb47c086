// Code generated from generated/descriptor.binpb by `make generate`. DO NOT EDIT.
package com.responsa.client;

import com.google.longrunning.Operation;
import com.google.protobuf.Empty;
import com.responsa.admin.v1.AddGroupMembersRequest;
import com.responsa.admin.v1.AskedProgram;
import com.responsa.admin.v1.CreateAgentVersionRequest;
import com.responsa.admin.v1.CreateExperimentRequest;
import com.responsa.admin.v1.CreateGroupRequest;
import com.responsa.admin.v1.CreateProgramRequest;
import com.responsa.admin.v1.CreateServiceApiKeyRequest;
import com.responsa.admin.v1.CreateServiceApiKeyResponse;
import com.responsa.admin.v1.CreateServiceGrantRequest;
import com.responsa.admin.v1.CreateSourceRequest;
import com.responsa.admin.v1.CreateTeacherRequest;
import com.responsa.admin.v1.CreateTenantRequest;
import com.responsa.admin.v1.CreateTenantResponse;
import com.responsa.admin.v1.CreateUserRequest;
import com.responsa.admin.v1.DeleteAskedProgramRequest;
import com.responsa.admin.v1.DeleteGroupRequest;
import com.responsa.admin.v1.DeleteProgramRequest;
import com.responsa.admin.v1.DeleteServiceGrantRequest;
import com.responsa.admin.v1.DeleteSourceRequest;
import com.responsa.admin.v1.DeleteTeacherRequest;
import com.responsa.admin.v1.DeleteUserRequest;
import com.responsa.admin.v1.Delivery;
import com.responsa.admin.v1.DisableUserRequest;
import com.responsa.admin.v1.EnableUserRequest;
import com.responsa.admin.v1.EraseTenantRequest;
import com.responsa.admin.v1.Experiment;
import com.responsa.admin.v1.ExperimentReport;
import com.responsa.admin.v1.GetAgentVersionRequest;
import com.responsa.admin.v1.GetExperimentReportRequest;
import com.responsa.admin.v1.GetExperimentRequest;
import com.responsa.admin.v1.GetFeedbackStatsRequest;
import com.responsa.admin.v1.GetFeedbackStatsResponse;
import com.responsa.admin.v1.GetGroupRequest;
import com.responsa.admin.v1.GetInsightSettingsRequest;
import com.responsa.admin.v1.GetModelsRequest;
import com.responsa.admin.v1.GetQualityStatsRequest;
import com.responsa.admin.v1.GetQualityStatsResponse;
import com.responsa.admin.v1.GetShownExchangeRequest;
import com.responsa.admin.v1.GetSourceRequest;
import com.responsa.admin.v1.GetSystemStatusRequest;
import com.responsa.admin.v1.GetTeacherRequest;
import com.responsa.admin.v1.GetTenantRequest;
import com.responsa.admin.v1.GetUserLimitsRequest;
import com.responsa.admin.v1.GetUserQuotaRequest;
import com.responsa.admin.v1.GetUserRequest;
import com.responsa.admin.v1.GivenFeedback;
import com.responsa.admin.v1.GrantOwnershipRequest;
import com.responsa.admin.v1.Group;
import com.responsa.admin.v1.InsightSettings;
import com.responsa.admin.v1.InviteTenantAdministratorRequest;
import com.responsa.admin.v1.InviteTenantAdministratorResponse;
import com.responsa.admin.v1.ListAgentVersionsRequest;
import com.responsa.admin.v1.ListAgentVersionsResponse;
import com.responsa.admin.v1.ListAskedProgramsRequest;
import com.responsa.admin.v1.ListAskedProgramsResponse;
import com.responsa.admin.v1.ListAuditEventsRequest;
import com.responsa.admin.v1.ListAuditEventsResponse;
import com.responsa.admin.v1.ListConnectionsRequest;
import com.responsa.admin.v1.ListConnectionsResponse;
import com.responsa.admin.v1.ListDeliveriesRequest;
import com.responsa.admin.v1.ListDeliveriesResponse;
import com.responsa.admin.v1.ListExperimentsRequest;
import com.responsa.admin.v1.ListExperimentsResponse;
import com.responsa.admin.v1.ListFailedRowsRequest;
import com.responsa.admin.v1.ListFailedRowsResponse;
import com.responsa.admin.v1.ListFeedbackRequest;
import com.responsa.admin.v1.ListFeedbackResponse;
import com.responsa.admin.v1.ListGroupMembersRequest;
import com.responsa.admin.v1.ListGroupMembersResponse;
import com.responsa.admin.v1.ListGroupsRequest;
import com.responsa.admin.v1.ListGroupsResponse;
import com.responsa.admin.v1.ListProgramsRequest;
import com.responsa.admin.v1.ListProgramsResponse;
import com.responsa.admin.v1.ListQuestionPatternsRequest;
import com.responsa.admin.v1.ListQuestionPatternsResponse;
import com.responsa.admin.v1.ListServiceGrantsRequest;
import com.responsa.admin.v1.ListServiceGrantsResponse;
import com.responsa.admin.v1.ListSourcesRequest;
import com.responsa.admin.v1.ListSourcesResponse;
import com.responsa.admin.v1.ListTeachersRequest;
import com.responsa.admin.v1.ListTeachersResponse;
import com.responsa.admin.v1.ListTenantApiKeysRequest;
import com.responsa.admin.v1.ListTenantApiKeysResponse;
import com.responsa.admin.v1.ListTenantSessionsRequest;
import com.responsa.admin.v1.ListTenantSessionsResponse;
import com.responsa.admin.v1.ListTenantTurnsRequest;
import com.responsa.admin.v1.ListTenantTurnsResponse;
import com.responsa.admin.v1.ListTenantsRequest;
import com.responsa.admin.v1.ListTenantsResponse;
import com.responsa.admin.v1.ListUsersRequest;
import com.responsa.admin.v1.ListUsersResponse;
import com.responsa.admin.v1.LookupUserRequest;
import com.responsa.admin.v1.ModelSettings;
import com.responsa.admin.v1.NotifySubjectChangedRequest;
import com.responsa.admin.v1.NotifySubjectChangedResponse;
import com.responsa.admin.v1.PreviewSourceRequest;
import com.responsa.admin.v1.PreviewSourceResponse;
import com.responsa.admin.v1.Program;
import com.responsa.admin.v1.PublishAgentVersionRequest;
import com.responsa.admin.v1.QueryUsageRequest;
import com.responsa.admin.v1.QueryUsageResponse;
import com.responsa.admin.v1.QuestionPattern;
import com.responsa.admin.v1.RedeliverDeliveryRequest;
import com.responsa.admin.v1.ReloadAgentsRequest;
import com.responsa.admin.v1.ReloadAgentsResponse;
import com.responsa.admin.v1.RemoveGroupMembersRequest;
import com.responsa.admin.v1.ResolveFeedbackRequest;
import com.responsa.admin.v1.ResumeTenantRequest;
import com.responsa.admin.v1.RetryFailedRowsRequest;
import com.responsa.admin.v1.RevokeCredentialsRequest;
import com.responsa.admin.v1.RevokeCredentialsResponse;
import com.responsa.admin.v1.RevokeOwnershipRequest;
import com.responsa.admin.v1.RevokeTenantApiKeyRequest;
import com.responsa.admin.v1.RevokeTenantSessionsRequest;
import com.responsa.admin.v1.RevokeTenantSessionsResponse;
import com.responsa.admin.v1.RollbackAgentVersionRequest;
import com.responsa.admin.v1.ServiceGrant;
import com.responsa.admin.v1.SetDefaultModelRequest;
import com.responsa.admin.v1.ShownExchange;
import com.responsa.admin.v1.Source;
import com.responsa.admin.v1.StopExperimentRequest;
import com.responsa.admin.v1.SuspendTenantRequest;
import com.responsa.admin.v1.SyncSourceRequest;
import com.responsa.admin.v1.SystemStatus;
import com.responsa.admin.v1.Teacher;
import com.responsa.admin.v1.Tenant;
import com.responsa.admin.v1.TestModelRequest;
import com.responsa.admin.v1.TestModelResponse;
import com.responsa.admin.v1.UpdateAgentRequest;
import com.responsa.admin.v1.UpdateAskedProgramRequest;
import com.responsa.admin.v1.UpdateGroupRequest;
import com.responsa.admin.v1.UpdateInsightSettingsRequest;
import com.responsa.admin.v1.UpdateQuestionPatternRequest;
import com.responsa.admin.v1.UpdateSourceRequest;
import com.responsa.admin.v1.UpdateTeacherRequest;
import com.responsa.admin.v1.UpdateUserLimitsRequest;
import com.responsa.admin.v1.UpdateUserQuotaRequest;
import com.responsa.admin.v1.UpdateUserRequest;
import com.responsa.admin.v1.UserLimits;
import com.responsa.admin.v1.UserQuota;
import com.responsa.auth.v1.ApiKey;
import com.responsa.auth.v1.DeletionReceipt;
import com.responsa.auth.v1.User;
import com.responsa.chat.v1.Agent;
import com.responsa.chat.v1.AgentVersion;
import io.grpc.MethodDescriptor;
import io.grpc.MethodDescriptor.MethodType;
import java.time.Duration;

/**
 * AdminService is for administrators. Every call but NotifySubjectChanged needs the role ADMIN; other callers get ROLE_REQUIRED.
 * Only owners of the installation may make the calls that concern the whole installation: its agents, tenants and owners.
 */
public final class AdminService {
    static final MethodDescriptor<GetSystemStatusRequest, SystemStatus> GET_SYSTEM_STATUS = Calls.method(
            MethodType.UNARY, "responsa.admin.v1.AdminService/GetSystemStatus",
            GetSystemStatusRequest.getDefaultInstance(), SystemStatus.getDefaultInstance());
    static final MethodDescriptor<CreateTeacherRequest, Teacher> CREATE_TEACHER = Calls.method(
            MethodType.UNARY, "responsa.admin.v1.AdminService/CreateTeacher",
            CreateTeacherRequest.getDefaultInstance(), Teacher.getDefaultInstance());
    static final MethodDescriptor<GetTeacherRequest, Teacher> GET_TEACHER = Calls.method(
            MethodType.UNARY, "responsa.admin.v1.AdminService/GetTeacher",
            GetTeacherRequest.getDefaultInstance(), Teacher.getDefaultInstance());
    static final MethodDescriptor<ListTeachersRequest, ListTeachersResponse> LIST_TEACHERS = Calls.method(
            MethodType.UNARY, "responsa.admin.v1.AdminService/ListTeachers",
            ListTeachersRequest.getDefaultInstance(), ListTeachersResponse.getDefaultInstance());
    static final MethodDescriptor<UpdateTeacherRequest, Teacher> UPDATE_TEACHER = Calls.method(
            MethodType.UNARY, "responsa.admin.v1.AdminService/UpdateTeacher",
            UpdateTeacherRequest.getDefaultInstance(), Teacher.getDefaultInstance());
    static final MethodDescriptor<DeleteTeacherRequest, Empty> DELETE_TEACHER = Calls.method(
            MethodType.UNARY, "responsa.admin.v1.AdminService/DeleteTeacher",
            DeleteTeacherRequest.getDefaultInstance(), Empty.getDefaultInstance());
    static final MethodDescriptor<CreateProgramRequest, Program> CREATE_PROGRAM = Calls.method(
            MethodType.UNARY, "responsa.admin.v1.AdminService/CreateProgram",
            CreateProgramRequest.getDefaultInstance(), Program.getDefaultInstance());
    static final MethodDescriptor<ListProgramsRequest, ListProgramsResponse> LIST_PROGRAMS = Calls.method(
            MethodType.UNARY, "responsa.admin.v1.AdminService/ListPrograms",
            ListProgramsRequest.getDefaultInstance(), ListProgramsResponse.getDefaultInstance());
    static final MethodDescriptor<DeleteProgramRequest, Empty> DELETE_PROGRAM = Calls.method(
            MethodType.UNARY, "responsa.admin.v1.AdminService/DeleteProgram",
            DeleteProgramRequest.getDefaultInstance(), Empty.getDefaultInstance());
    static final MethodDescriptor<ListAskedProgramsRequest, ListAskedProgramsResponse> LIST_ASKED_PROGRAMS = Calls.method(
            MethodType.UNARY, "responsa.admin.v1.AdminService/ListAskedPrograms",
            ListAskedProgramsRequest.getDefaultInstance(), ListAskedProgramsResponse.getDefaultInstance());
    static final MethodDescriptor<UpdateAskedProgramRequest, AskedProgram> UPDATE_ASKED_PROGRAM = Calls.method(
            MethodType.UNARY, "responsa.admin.v1.AdminService/UpdateAskedProgram",
            UpdateAskedProgramRequest.getDefaultInstance(), AskedProgram.getDefaultInstance());
    static final MethodDescriptor<DeleteAskedProgramRequest, Empty> DELETE_ASKED_PROGRAM = Calls.method(
            MethodType.UNARY, "responsa.admin.v1.AdminService/DeleteAskedProgram",
            DeleteAskedProgramRequest.getDefaultInstance(), Empty.getDefaultInstance());
    static final MethodDescriptor<CreateSourceRequest, Source> CREATE_SOURCE = Calls.method(
            MethodType.UNARY, "responsa.admin.v1.AdminService/CreateSource",
            CreateSourceRequest.getDefaultInstance(), Source.getDefaultInstance());
    static final MethodDescriptor<GetSourceRequest, Source> GET_SOURCE = Calls.method(
            MethodType.UNARY, "responsa.admin.v1.AdminService/GetSource",
            GetSourceRequest.getDefaultInstance(), Source.getDefaultInstance());
    static final MethodDescriptor<ListSourcesRequest, ListSourcesResponse> LIST_SOURCES = Calls.method(
            MethodType.UNARY, "responsa.admin.v1.AdminService/ListSources",
            ListSourcesRequest.getDefaultInstance(), ListSourcesResponse.getDefaultInstance());
    static final MethodDescriptor<UpdateSourceRequest, Source> UPDATE_SOURCE = Calls.method(
            MethodType.UNARY, "responsa.admin.v1.AdminService/UpdateSource",
            UpdateSourceRequest.getDefaultInstance(), Source.getDefaultInstance());
    static final MethodDescriptor<DeleteSourceRequest, Empty> DELETE_SOURCE = Calls.method(
            MethodType.UNARY, "responsa.admin.v1.AdminService/DeleteSource",
            DeleteSourceRequest.getDefaultInstance(), Empty.getDefaultInstance());
    static final MethodDescriptor<PreviewSourceRequest, PreviewSourceResponse> PREVIEW_SOURCE = Calls.method(
            MethodType.UNARY, "responsa.admin.v1.AdminService/PreviewSource",
            PreviewSourceRequest.getDefaultInstance(), PreviewSourceResponse.getDefaultInstance());
    static final MethodDescriptor<SyncSourceRequest, Operation> SYNC_SOURCE = Calls.method(
            MethodType.UNARY, "responsa.admin.v1.AdminService/SyncSource",
            SyncSourceRequest.getDefaultInstance(), Operation.getDefaultInstance());
    static final MethodDescriptor<RetryFailedRowsRequest, Operation> RETRY_FAILED_ROWS = Calls.method(
            MethodType.UNARY, "responsa.admin.v1.AdminService/RetryFailedRows",
            RetryFailedRowsRequest.getDefaultInstance(), Operation.getDefaultInstance());
    static final MethodDescriptor<ListDeliveriesRequest, ListDeliveriesResponse> LIST_DELIVERIES = Calls.method(
            MethodType.UNARY, "responsa.admin.v1.AdminService/ListDeliveries",
            ListDeliveriesRequest.getDefaultInstance(), ListDeliveriesResponse.getDefaultInstance());
    static final MethodDescriptor<RedeliverDeliveryRequest, Delivery> REDELIVER_DELIVERY = Calls.method(
            MethodType.UNARY, "responsa.admin.v1.AdminService/RedeliverDelivery",
            RedeliverDeliveryRequest.getDefaultInstance(), Delivery.getDefaultInstance());
    static final MethodDescriptor<NotifySubjectChangedRequest, NotifySubjectChangedResponse> NOTIFY_SUBJECT_CHANGED = Calls.method(
            MethodType.UNARY, "responsa.admin.v1.AdminService/NotifySubjectChanged",
            NotifySubjectChangedRequest.getDefaultInstance(), NotifySubjectChangedResponse.getDefaultInstance());
    static final MethodDescriptor<ListFailedRowsRequest, ListFailedRowsResponse> LIST_FAILED_ROWS = Calls.method(
            MethodType.UNARY, "responsa.admin.v1.AdminService/ListFailedRows",
            ListFailedRowsRequest.getDefaultInstance(), ListFailedRowsResponse.getDefaultInstance());
    static final MethodDescriptor<ListConnectionsRequest, ListConnectionsResponse> LIST_CONNECTIONS = Calls.method(
            MethodType.UNARY, "responsa.admin.v1.AdminService/ListConnections",
            ListConnectionsRequest.getDefaultInstance(), ListConnectionsResponse.getDefaultInstance());
    static final MethodDescriptor<ReloadAgentsRequest, ReloadAgentsResponse> RELOAD_AGENTS = Calls.method(
            MethodType.UNARY, "responsa.admin.v1.AdminService/ReloadAgents",
            ReloadAgentsRequest.getDefaultInstance(), ReloadAgentsResponse.getDefaultInstance());
    static final MethodDescriptor<ListAgentVersionsRequest, ListAgentVersionsResponse> LIST_AGENT_VERSIONS = Calls.method(
            MethodType.UNARY, "responsa.admin.v1.AdminService/ListAgentVersions",
            ListAgentVersionsRequest.getDefaultInstance(), ListAgentVersionsResponse.getDefaultInstance());
    static final MethodDescriptor<GetAgentVersionRequest, AgentVersion> GET_AGENT_VERSION = Calls.method(
            MethodType.UNARY, "responsa.admin.v1.AdminService/GetAgentVersion",
            GetAgentVersionRequest.getDefaultInstance(), AgentVersion.getDefaultInstance());
    static final MethodDescriptor<CreateAgentVersionRequest, AgentVersion> CREATE_AGENT_VERSION = Calls.method(
            MethodType.UNARY, "responsa.admin.v1.AdminService/CreateAgentVersion",
            CreateAgentVersionRequest.getDefaultInstance(), AgentVersion.getDefaultInstance());
    static final MethodDescriptor<PublishAgentVersionRequest, Agent> PUBLISH_AGENT_VERSION = Calls.method(
            MethodType.UNARY, "responsa.admin.v1.AdminService/PublishAgentVersion",
            PublishAgentVersionRequest.getDefaultInstance(), Agent.getDefaultInstance());
    static final MethodDescriptor<RollbackAgentVersionRequest, Agent> ROLLBACK_AGENT_VERSION = Calls.method(
            MethodType.UNARY, "responsa.admin.v1.AdminService/RollbackAgentVersion",
            RollbackAgentVersionRequest.getDefaultInstance(), Agent.getDefaultInstance());
    static final MethodDescriptor<UpdateAgentRequest, Agent> UPDATE_AGENT = Calls.method(
            MethodType.UNARY, "responsa.admin.v1.AdminService/UpdateAgent",
            UpdateAgentRequest.getDefaultInstance(), Agent.getDefaultInstance());
    static final MethodDescriptor<CreateExperimentRequest, Experiment> CREATE_EXPERIMENT = Calls.method(
            MethodType.UNARY, "responsa.admin.v1.AdminService/CreateExperiment",
            CreateExperimentRequest.getDefaultInstance(), Experiment.getDefaultInstance());
    static final MethodDescriptor<GetExperimentRequest, Experiment> GET_EXPERIMENT = Calls.method(
            MethodType.UNARY, "responsa.admin.v1.AdminService/GetExperiment",
            GetExperimentRequest.getDefaultInstance(), Experiment.getDefaultInstance());
    static final MethodDescriptor<ListExperimentsRequest, ListExperimentsResponse> LIST_EXPERIMENTS = Calls.method(
            MethodType.UNARY, "responsa.admin.v1.AdminService/ListExperiments",
            ListExperimentsRequest.getDefaultInstance(), ListExperimentsResponse.getDefaultInstance());
    static final MethodDescriptor<StopExperimentRequest, Experiment> STOP_EXPERIMENT = Calls.method(
            MethodType.UNARY, "responsa.admin.v1.AdminService/StopExperiment",
            StopExperimentRequest.getDefaultInstance(), Experiment.getDefaultInstance());
    static final MethodDescriptor<GetExperimentReportRequest, ExperimentReport> GET_EXPERIMENT_REPORT = Calls.method(
            MethodType.UNARY, "responsa.admin.v1.AdminService/GetExperimentReport",
            GetExperimentReportRequest.getDefaultInstance(), ExperimentReport.getDefaultInstance());
    static final MethodDescriptor<CreateUserRequest, User> CREATE_USER = Calls.method(
            MethodType.UNARY, "responsa.admin.v1.AdminService/CreateUser",
            CreateUserRequest.getDefaultInstance(), User.getDefaultInstance());
    static final MethodDescriptor<GetUserRequest, User> GET_USER = Calls.method(
            MethodType.UNARY, "responsa.admin.v1.AdminService/GetUser",
            GetUserRequest.getDefaultInstance(), User.getDefaultInstance());
    static final MethodDescriptor<LookupUserRequest, User> LOOKUP_USER = Calls.method(
            MethodType.UNARY, "responsa.admin.v1.AdminService/LookupUser",
            LookupUserRequest.getDefaultInstance(), User.getDefaultInstance());
    static final MethodDescriptor<ListUsersRequest, ListUsersResponse> LIST_USERS = Calls.method(
            MethodType.UNARY, "responsa.admin.v1.AdminService/ListUsers",
            ListUsersRequest.getDefaultInstance(), ListUsersResponse.getDefaultInstance());
    static final MethodDescriptor<UpdateUserRequest, User> UPDATE_USER = Calls.method(
            MethodType.UNARY, "responsa.admin.v1.AdminService/UpdateUser",
            UpdateUserRequest.getDefaultInstance(), User.getDefaultInstance());
    static final MethodDescriptor<GetUserLimitsRequest, UserLimits> GET_USER_LIMITS = Calls.method(
            MethodType.UNARY, "responsa.admin.v1.AdminService/GetUserLimits",
            GetUserLimitsRequest.getDefaultInstance(), UserLimits.getDefaultInstance());
    static final MethodDescriptor<UpdateUserLimitsRequest, UserLimits> UPDATE_USER_LIMITS = Calls.method(
            MethodType.UNARY, "responsa.admin.v1.AdminService/UpdateUserLimits",
            UpdateUserLimitsRequest.getDefaultInstance(), UserLimits.getDefaultInstance());
    static final MethodDescriptor<DisableUserRequest, User> DISABLE_USER = Calls.method(
            MethodType.UNARY, "responsa.admin.v1.AdminService/DisableUser",
            DisableUserRequest.getDefaultInstance(), User.getDefaultInstance());
    static final MethodDescriptor<EnableUserRequest, User> ENABLE_USER = Calls.method(
            MethodType.UNARY, "responsa.admin.v1.AdminService/EnableUser",
            EnableUserRequest.getDefaultInstance(), User.getDefaultInstance());
    static final MethodDescriptor<RevokeCredentialsRequest, RevokeCredentialsResponse> REVOKE_CREDENTIALS = Calls.method(
            MethodType.UNARY, "responsa.admin.v1.AdminService/RevokeCredentials",
            RevokeCredentialsRequest.getDefaultInstance(), RevokeCredentialsResponse.getDefaultInstance());
    static final MethodDescriptor<DeleteUserRequest, DeletionReceipt> DELETE_USER = Calls.method(
            MethodType.UNARY, "responsa.admin.v1.AdminService/DeleteUser",
            DeleteUserRequest.getDefaultInstance(), DeletionReceipt.getDefaultInstance());
    static final MethodDescriptor<GrantOwnershipRequest, User> GRANT_OWNERSHIP = Calls.method(
            MethodType.UNARY, "responsa.admin.v1.AdminService/GrantOwnership",
            GrantOwnershipRequest.getDefaultInstance(), User.getDefaultInstance());
    static final MethodDescriptor<RevokeOwnershipRequest, User> REVOKE_OWNERSHIP = Calls.method(
            MethodType.UNARY, "responsa.admin.v1.AdminService/RevokeOwnership",
            RevokeOwnershipRequest.getDefaultInstance(), User.getDefaultInstance());
    static final MethodDescriptor<CreateServiceGrantRequest, ServiceGrant> CREATE_SERVICE_GRANT = Calls.method(
            MethodType.UNARY, "responsa.admin.v1.AdminService/CreateServiceGrant",
            CreateServiceGrantRequest.getDefaultInstance(), ServiceGrant.getDefaultInstance());
    static final MethodDescriptor<ListServiceGrantsRequest, ListServiceGrantsResponse> LIST_SERVICE_GRANTS = Calls.method(
            MethodType.UNARY, "responsa.admin.v1.AdminService/ListServiceGrants",
            ListServiceGrantsRequest.getDefaultInstance(), ListServiceGrantsResponse.getDefaultInstance());
    static final MethodDescriptor<DeleteServiceGrantRequest, Empty> DELETE_SERVICE_GRANT = Calls.method(
            MethodType.UNARY, "responsa.admin.v1.AdminService/DeleteServiceGrant",
            DeleteServiceGrantRequest.getDefaultInstance(), Empty.getDefaultInstance());
    static final MethodDescriptor<CreateTenantRequest, CreateTenantResponse> CREATE_TENANT = Calls.method(
            MethodType.UNARY, "responsa.admin.v1.AdminService/CreateTenant",
            CreateTenantRequest.getDefaultInstance(), CreateTenantResponse.getDefaultInstance());
    static final MethodDescriptor<InviteTenantAdministratorRequest, InviteTenantAdministratorResponse> INVITE_TENANT_ADMINISTRATOR = Calls.method(
            MethodType.UNARY, "responsa.admin.v1.AdminService/InviteTenantAdministrator",
            InviteTenantAdministratorRequest.getDefaultInstance(), InviteTenantAdministratorResponse.getDefaultInstance());
    static final MethodDescriptor<GetTenantRequest, Tenant> GET_TENANT = Calls.method(
            MethodType.UNARY, "responsa.admin.v1.AdminService/GetTenant",
            GetTenantRequest.getDefaultInstance(), Tenant.getDefaultInstance());
    static final MethodDescriptor<ListTenantsRequest, ListTenantsResponse> LIST_TENANTS = Calls.method(
            MethodType.UNARY, "responsa.admin.v1.AdminService/ListTenants",
            ListTenantsRequest.getDefaultInstance(), ListTenantsResponse.getDefaultInstance());
    static final MethodDescriptor<SuspendTenantRequest, Tenant> SUSPEND_TENANT = Calls.method(
            MethodType.UNARY, "responsa.admin.v1.AdminService/SuspendTenant",
            SuspendTenantRequest.getDefaultInstance(), Tenant.getDefaultInstance());
    static final MethodDescriptor<ResumeTenantRequest, Tenant> RESUME_TENANT = Calls.method(
            MethodType.UNARY, "responsa.admin.v1.AdminService/ResumeTenant",
            ResumeTenantRequest.getDefaultInstance(), Tenant.getDefaultInstance());
    static final MethodDescriptor<EraseTenantRequest, Tenant> ERASE_TENANT = Calls.method(
            MethodType.UNARY, "responsa.admin.v1.AdminService/EraseTenant",
            EraseTenantRequest.getDefaultInstance(), Tenant.getDefaultInstance());
    static final MethodDescriptor<GetUserQuotaRequest, UserQuota> GET_USER_QUOTA = Calls.method(
            MethodType.UNARY, "responsa.admin.v1.AdminService/GetUserQuota",
            GetUserQuotaRequest.getDefaultInstance(), UserQuota.getDefaultInstance());
    static final MethodDescriptor<UpdateUserQuotaRequest, UserQuota> UPDATE_USER_QUOTA = Calls.method(
            MethodType.UNARY, "responsa.admin.v1.AdminService/UpdateUserQuota",
            UpdateUserQuotaRequest.getDefaultInstance(), UserQuota.getDefaultInstance());
    static final MethodDescriptor<CreateServiceApiKeyRequest, CreateServiceApiKeyResponse> CREATE_SERVICE_API_KEY = Calls.method(
            MethodType.UNARY, "responsa.admin.v1.AdminService/CreateServiceApiKey",
            CreateServiceApiKeyRequest.getDefaultInstance(), CreateServiceApiKeyResponse.getDefaultInstance());
    static final MethodDescriptor<ListTenantApiKeysRequest, ListTenantApiKeysResponse> LIST_TENANT_API_KEYS = Calls.method(
            MethodType.UNARY, "responsa.admin.v1.AdminService/ListTenantApiKeys",
            ListTenantApiKeysRequest.getDefaultInstance(), ListTenantApiKeysResponse.getDefaultInstance());
    static final MethodDescriptor<RevokeTenantApiKeyRequest, ApiKey> REVOKE_TENANT_API_KEY = Calls.method(
            MethodType.UNARY, "responsa.admin.v1.AdminService/RevokeTenantApiKey",
            RevokeTenantApiKeyRequest.getDefaultInstance(), ApiKey.getDefaultInstance());
    static final MethodDescriptor<ListTenantSessionsRequest, ListTenantSessionsResponse> LIST_TENANT_SESSIONS = Calls.method(
            MethodType.UNARY, "responsa.admin.v1.AdminService/ListTenantSessions",
            ListTenantSessionsRequest.getDefaultInstance(), ListTenantSessionsResponse.getDefaultInstance());
    static final MethodDescriptor<RevokeTenantSessionsRequest, RevokeTenantSessionsResponse> REVOKE_TENANT_SESSIONS = Calls.method(
            MethodType.UNARY, "responsa.admin.v1.AdminService/RevokeTenantSessions",
            RevokeTenantSessionsRequest.getDefaultInstance(), RevokeTenantSessionsResponse.getDefaultInstance());
    static final MethodDescriptor<ListAuditEventsRequest, ListAuditEventsResponse> LIST_AUDIT_EVENTS = Calls.method(
            MethodType.UNARY, "responsa.admin.v1.AdminService/ListAuditEvents",
            ListAuditEventsRequest.getDefaultInstance(), ListAuditEventsResponse.getDefaultInstance());
    static final MethodDescriptor<QueryUsageRequest, QueryUsageResponse> QUERY_USAGE = Calls.method(
            MethodType.UNARY, "responsa.admin.v1.AdminService/QueryUsage",
            QueryUsageRequest.getDefaultInstance(), QueryUsageResponse.getDefaultInstance());
    static final MethodDescriptor<ListFeedbackRequest, ListFeedbackResponse> LIST_FEEDBACK = Calls.method(
            MethodType.UNARY, "responsa.admin.v1.AdminService/ListFeedback",
            ListFeedbackRequest.getDefaultInstance(), ListFeedbackResponse.getDefaultInstance());
    static final MethodDescriptor<ResolveFeedbackRequest, GivenFeedback> RESOLVE_FEEDBACK = Calls.method(
            MethodType.UNARY, "responsa.admin.v1.AdminService/ResolveFeedback",
            ResolveFeedbackRequest.getDefaultInstance(), GivenFeedback.getDefaultInstance());
    static final MethodDescriptor<GetShownExchangeRequest, ShownExchange> GET_SHOWN_EXCHANGE = Calls.method(
            MethodType.UNARY, "responsa.admin.v1.AdminService/GetShownExchange",
            GetShownExchangeRequest.getDefaultInstance(), ShownExchange.getDefaultInstance());
    static final MethodDescriptor<GetFeedbackStatsRequest, GetFeedbackStatsResponse> GET_FEEDBACK_STATS = Calls.method(
            MethodType.UNARY, "responsa.admin.v1.AdminService/GetFeedbackStats",
            GetFeedbackStatsRequest.getDefaultInstance(), GetFeedbackStatsResponse.getDefaultInstance());
    static final MethodDescriptor<GetQualityStatsRequest, GetQualityStatsResponse> GET_QUALITY_STATS = Calls.method(
            MethodType.UNARY, "responsa.admin.v1.AdminService/GetQualityStats",
            GetQualityStatsRequest.getDefaultInstance(), GetQualityStatsResponse.getDefaultInstance());
    static final MethodDescriptor<ListTenantTurnsRequest, ListTenantTurnsResponse> LIST_TENANT_TURNS = Calls.method(
            MethodType.UNARY, "responsa.admin.v1.AdminService/ListTenantTurns",
            ListTenantTurnsRequest.getDefaultInstance(), ListTenantTurnsResponse.getDefaultInstance());
    static final MethodDescriptor<ListQuestionPatternsRequest, ListQuestionPatternsResponse> LIST_QUESTION_PATTERNS = Calls.method(
            MethodType.UNARY, "responsa.admin.v1.AdminService/ListQuestionPatterns",
            ListQuestionPatternsRequest.getDefaultInstance(), ListQuestionPatternsResponse.getDefaultInstance());
    static final MethodDescriptor<UpdateQuestionPatternRequest, QuestionPattern> UPDATE_QUESTION_PATTERN = Calls.method(
            MethodType.UNARY, "responsa.admin.v1.AdminService/UpdateQuestionPattern",
            UpdateQuestionPatternRequest.getDefaultInstance(), QuestionPattern.getDefaultInstance());
    static final MethodDescriptor<GetInsightSettingsRequest, InsightSettings> GET_INSIGHT_SETTINGS = Calls.method(
            MethodType.UNARY, "responsa.admin.v1.AdminService/GetInsightSettings",
            GetInsightSettingsRequest.getDefaultInstance(), InsightSettings.getDefaultInstance());
    static final MethodDescriptor<UpdateInsightSettingsRequest, InsightSettings> UPDATE_INSIGHT_SETTINGS = Calls.method(
            MethodType.UNARY, "responsa.admin.v1.AdminService/UpdateInsightSettings",
            UpdateInsightSettingsRequest.getDefaultInstance(), InsightSettings.getDefaultInstance());
    static final MethodDescriptor<GetModelsRequest, ModelSettings> GET_MODELS = Calls.method(
            MethodType.UNARY, "responsa.admin.v1.AdminService/GetModels",
            GetModelsRequest.getDefaultInstance(), ModelSettings.getDefaultInstance());
    static final MethodDescriptor<SetDefaultModelRequest, ModelSettings> SET_DEFAULT_MODEL = Calls.method(
            MethodType.UNARY, "responsa.admin.v1.AdminService/SetDefaultModel",
            SetDefaultModelRequest.getDefaultInstance(), ModelSettings.getDefaultInstance());
    static final MethodDescriptor<TestModelRequest, TestModelResponse> TEST_MODEL = Calls.method(
            MethodType.UNARY, "responsa.admin.v1.AdminService/TestModel",
            TestModelRequest.getDefaultInstance(), TestModelResponse.getDefaultInstance());
    static final MethodDescriptor<CreateGroupRequest, Group> CREATE_GROUP = Calls.method(
            MethodType.UNARY, "responsa.admin.v1.AdminService/CreateGroup",
            CreateGroupRequest.getDefaultInstance(), Group.getDefaultInstance());
    static final MethodDescriptor<GetGroupRequest, Group> GET_GROUP = Calls.method(
            MethodType.UNARY, "responsa.admin.v1.AdminService/GetGroup",
            GetGroupRequest.getDefaultInstance(), Group.getDefaultInstance());
    static final MethodDescriptor<ListGroupsRequest, ListGroupsResponse> LIST_GROUPS = Calls.method(
            MethodType.UNARY, "responsa.admin.v1.AdminService/ListGroups",
            ListGroupsRequest.getDefaultInstance(), ListGroupsResponse.getDefaultInstance());
    static final MethodDescriptor<UpdateGroupRequest, Group> UPDATE_GROUP = Calls.method(
            MethodType.UNARY, "responsa.admin.v1.AdminService/UpdateGroup",
            UpdateGroupRequest.getDefaultInstance(), Group.getDefaultInstance());
    static final MethodDescriptor<DeleteGroupRequest, Empty> DELETE_GROUP = Calls.method(
            MethodType.UNARY, "responsa.admin.v1.AdminService/DeleteGroup",
            DeleteGroupRequest.getDefaultInstance(), Empty.getDefaultInstance());
    static final MethodDescriptor<AddGroupMembersRequest, Group> ADD_GROUP_MEMBERS = Calls.method(
            MethodType.UNARY, "responsa.admin.v1.AdminService/AddGroupMembers",
            AddGroupMembersRequest.getDefaultInstance(), Group.getDefaultInstance());
    static final MethodDescriptor<RemoveGroupMembersRequest, Group> REMOVE_GROUP_MEMBERS = Calls.method(
            MethodType.UNARY, "responsa.admin.v1.AdminService/RemoveGroupMembers",
            RemoveGroupMembersRequest.getDefaultInstance(), Group.getDefaultInstance());
    static final MethodDescriptor<ListGroupMembersRequest, ListGroupMembersResponse> LIST_GROUP_MEMBERS = Calls.method(
            MethodType.UNARY, "responsa.admin.v1.AdminService/ListGroupMembers",
            ListGroupMembersRequest.getDefaultInstance(), ListGroupMembersResponse.getDefaultInstance());

    private final Calls calls;
    private final Duration timeout;

    AdminService(Calls calls, Duration timeout) {
        this.calls = calls;
        this.timeout = timeout;
    }

    /** The same calls, with this time for each instead of the client's. */
    public AdminService withDeadlineAfter(Duration timeout) {
        return new AdminService(calls, timeout);
    }

    /**
     * GetSystemStatus checks every part of the system and waits at most two seconds for each part. If a part does not answer, the call
     * reports the part as DOWN and still succeeds. Only an owner of the installation gets the counters, which are sums over all tenants.
     */
    public SystemStatus getSystemStatus(GetSystemStatusRequest request) {
        return calls.unary(GET_SYSTEM_STATUS, request, true, timeout);
    }

    /**
     * CreateTeacher creates a teacher.
     *
     * <p>Errors: INVALID_FIELD, REQUEST_ID_REUSED, RESOURCE_ALREADY_EXISTS (another teacher has the teacher_id).
     */
    public Teacher createTeacher(CreateTeacherRequest request) {
        return calls.unary(CREATE_TEACHER, request, true, timeout);
    }

    /**
     * GetTeacher returns one teacher.
     *
     * <p>Errors: TEACHER_NOT_FOUND.
     */
    public Teacher getTeacher(GetTeacherRequest request) {
        return calls.unary(GET_TEACHER, request, true, timeout);
    }

    /**
     * ListTeachers lists the tenant's teachers, oldest first by default.
     *
     * <p>Errors: PAGE_TOKEN_INVALID, FILTER_INVALID, ORDER_BY_INVALID.
     */
    public ListTeachersResponse listTeachers(ListTeachersRequest request) {
        return calls.unary(LIST_TEACHERS, request, true, timeout);
    }

    /**
     * UpdateTeacher changes the fields that update_mask names (display_name, persona, parameters). If the call fails, it changes
     * nothing. A running turn keeps the persona that it began with.
     *
     * <p>Errors: TEACHER_NOT_FOUND, UPDATE_MASK_INVALID, ETAG_MISMATCH.
     */
    public Teacher updateTeacher(UpdateTeacherRequest request) {
        return calls.unary(UPDATE_TEACHER, request, !Calls.hasEtag(request), timeout);
    }

    /**
     * DeleteTeacher deletes a teacher. Existing answers in the teacher's voice stay.
     *
     * <p>Errors: TEACHER_NOT_FOUND, ETAG_MISMATCH.
     */
    public void deleteTeacher(DeleteTeacherRequest request) {
        calls.unary(DELETE_TEACHER, request, false, timeout);
    }

    /**
     * CreateProgram registers a program that people of the tenant may connect to their accounts with OAuth.
     *
     * <p>Errors: INVALID_FIELD, RESOURCE_ALREADY_EXISTS (a program with this document_uri), REQUEST_ID_REUSED.
     */
    public Program createProgram(CreateProgramRequest request) {
        return calls.unary(CREATE_PROGRAM, request, true, timeout);
    }

    /**
     * ListPrograms lists the tenant's registered programs, oldest first by default.
     *
     * <p>Errors: PAGE_TOKEN_INVALID, FILTER_INVALID, ORDER_BY_INVALID.
     */
    public ListProgramsResponse listPrograms(ListProgramsRequest request) {
        return calls.unary(LIST_PROGRAMS, request, true, timeout);
    }

    /**
     * DeleteProgram deletes a registered program, and with it the sessions of all who have connected it.
     *
     * <p>Errors: RESOURCE_NOT_FOUND, ETAG_MISMATCH.
     */
    public void deleteProgram(DeleteProgramRequest request) {
        calls.unary(DELETE_PROGRAM, request, false, timeout);
    }

    /**
     * ListAskedPrograms lists the addresses of programs whose own registration was refused for them, newest first by default: those that
     * an owner has allowed, and 100 others. Of these, the newest of each network address stay longest. Only owners of the installation
     * may make this call.
     *
     * <p>Errors: ROLE_REQUIRED, PAGE_TOKEN_INVALID, FILTER_INVALID, ORDER_BY_INVALID.
     */
    public ListAskedProgramsResponse listAskedPrograms(ListAskedProgramsRequest request) {
        return calls.unary(LIST_ASKED_PROGRAMS, request, true, timeout);
    }

    /**
     * UpdateAskedProgram changes whether programs that register themselves may send people back to an address ({@code allowed}), at once
     * and on all servers, while {@code programs.dynamic_registration} is {@code known}. Connected programs stay if the address is
     * allowed no more. Only owners of the installation may make this call.
     *
     * <p>Errors: ROLE_REQUIRED, RESOURCE_NOT_FOUND, UPDATE_MASK_INVALID, ETAG_MISMATCH.
     */
    public AskedProgram updateAskedProgram(UpdateAskedProgramRequest request) {
        return calls.unary(UPDATE_ASKED_PROGRAM, request, !Calls.hasEtag(request), timeout);
    }

    /**
     * DeleteAskedProgram deletes an address, which is then allowed no more. It appears again when a program asks for it. Only owners of
     * the installation may make this call.
     *
     * <p>Errors: ROLE_REQUIRED, RESOURCE_NOT_FOUND, ETAG_MISMATCH.
     */
    public void deleteAskedProgram(DeleteAskedProgramRequest request) {
        calls.unary(DELETE_ASKED_PROGRAM, request, false, timeout);
    }

    /**
     * CreateSource creates a source with a mapping or a folder. Of a folder, the names of the files are read first.
     *
     * <p>Errors: INVALID_FIELD (the mapping has mistakes; the error has one violation, with a line, for each of the first 16; or the
     * folder cannot be read, and the violation names the field of the folder to correct), RESOURCE_NOT_FOUND (the collection does not
     * exist, or the connection does not exist or is not granted to the tenant), RESOURCE_ALREADY_EXISTS.
     */
    public Source createSource(CreateSourceRequest request) {
        return calls.unary(CREATE_SOURCE, request, false, timeout);
    }

    /**
     * GetSource returns one source.
     *
     * <p>Errors: RESOURCE_NOT_FOUND.
     */
    public Source getSource(GetSourceRequest request) {
        return calls.unary(GET_SOURCE, request, true, timeout);
    }

    /**
     * ListSources lists the tenant's sources, ordered by name by default.
     *
     * <p>Errors: PAGE_TOKEN_INVALID, FILTER_INVALID, ORDER_BY_INVALID.
     */
    public ListSourcesResponse listSources(ListSourcesRequest request) {
        return calls.unary(LIST_SOURCES, request, true, timeout);
    }

    /**
     * UpdateSource changes the fields that update_mask names (display_name, mapping, folder as a whole).
     *
     * <p>Errors: RESOURCE_NOT_FOUND, UPDATE_MASK_INVALID, ETAG_MISMATCH, INVALID_FIELD (as for CreateSource).
     */
    public Source updateSource(UpdateSourceRequest request) {
        return calls.unary(UPDATE_SOURCE, request, !Calls.hasEtag(request), timeout);
    }

    /**
     * DeleteSource deletes a source. The documents that the source made stay in their collection, unless delete_documents is set.
     *
     * <p>Errors: RESOURCE_NOT_FOUND, ETAG_MISMATCH.
     */
    public void deleteSource(DeleteSourceRequest request) {
        calls.unary(DELETE_SOURCE, request, false, timeout);
    }

    /**
     * PreviewSource reads the first rows of each query of a mapping, or its first pages, and returns the documents that these make. The
     * call stores nothing. It reads at most 8 MiB of rows, returns the first 16 KiB of each text and about 8 MiB in all, and takes at
     * most 60 seconds.
     *
     * <p>Errors: INVALID_FIELD (as for CreateSource), RESOURCE_NOT_FOUND (as for CreateSource), SOURCE_UNREADABLE (the database or the
     * website cannot be read).
     */
    public PreviewSourceResponse previewSource(PreviewSourceRequest request) {
        return calls.unary(PREVIEW_SOURCE, request, true, timeout);
    }

    /**
     * SyncSource begins a run of a source, in the caller's name. The run reads all rows, or only the rows of one subject. The run makes
     * documents from rows that are new or have changed, and deletes the documents whose rows are gone. It changes nothing until it has
     * read all rows. A row that makes no document is set aside, and the documents of its subject stay as they are. The operation ends
     * when the documents can be searched. WatchOperation follows the run, and CancelOperation ends it. If a run is cancelled, the
     * documents that it has already made stay. The next run makes the documents that are missing. The operation's error is
     * SOURCE_UNREADABLE (the database cannot be read) or SOURCE_DELETIONS (more documents would be deleted than the mapping's
     * deletions_percent allows). The runs of a source work one after the other, in the order of the calls. If an earlier run of the
     * caller for the same subject is still waiting to begin, the call returns that run.
     *
     * <p>Errors: RESOURCE_NOT_FOUND, SOURCE_RUNNING (another run for all subjects has not ended), LIMIT_REACHED (1,000 runs of the
     * source have not ended).
     */
    public Operation syncSource(SyncSourceRequest request) {
        return calls.unary(SYNC_SOURCE, request, false, timeout);
    }

    /**
     * RetryFailedRows begins a run for all subjects with a row that failed in an earlier run. The run retries the failed rows and all
     * other rows of these subjects. The run reads all rows, but it makes and deletes only documents about these subjects. In all other
     * respects, the run is like a run that SyncSource begins.
     *
     * <p>Errors: RESOURCE_NOT_FOUND, SOURCE_RUNNING.
     */
    public Operation retryFailedRows(RetryFailedRowsRequest request) {
        return calls.unary(RETRY_FAILED_ROWS, request, false, timeout);
    }

    /**
     * ListDeliveries lists the notifications to webhooks about the tenant's runs and failed ingestions, newest first by default. The
     * server keeps deliveries that have ended for at least 30 days.
     *
     * <p>Errors: PAGE_TOKEN_INVALID, FILTER_INVALID, ORDER_BY_INVALID.
     */
    public ListDeliveriesResponse listDeliveries(ListDeliveriesRequest request) {
        return calls.unary(LIST_DELIVERIES, request, true, timeout);
    }

    /**
     * RedeliverDelivery sends a notification again at once, with the same id and body. The webhook's present declaration applies. The
     * server counts the attempts from 0 again. If the notification is already waiting for its next attempt, the call makes this attempt
     * now, and adds no further attempt.
     *
     * <p>Errors: RESOURCE_NOT_FOUND.
     */
    public Delivery redeliverDelivery(RedeliverDeliveryRequest request) {
        return calls.unary(REDELIVER_DELIVERY, request, true, timeout);
    }

    /**
     * NotifySubjectChanged reports that the rows about a subject have changed, and begins a run for this subject in each source that the
     * call concerns. Usually the change can be searched within two seconds. Services and administrators may make this call. The
     * documents that the runs make belong to the administrator who makes the call. If a service makes the call, these documents belong
     * to the administrator who made the source or changed it last. The runs of a source work one after the other. If an earlier run of
     * the caller for the same subject is still waiting to begin, the call returns that run. Therefore, many calls in a short time begin
     * only a few runs. If the call fails, no source gets a run.
     *
     * <p>Errors: RESOURCE_NOT_FOUND (a source does not exist), REQUEST_ID_REUSED, LIMIT_REACHED (1,000 runs of a source have not ended).
     */
    public NotifySubjectChangedResponse notifySubjectChanged(NotifySubjectChangedRequest request) {
        return calls.unary(NOTIFY_SUBJECT_CHANGED, request, true, timeout);
    }

    /**
     * ListFailedRows lists the failed rows, oldest first. A row has failed if it made no document in the newest run that read it. Every
     * run tries these rows again; RetryFailedRows begins a run for them and their subjects only.
     *
     * <p>Errors: RESOURCE_NOT_FOUND, PAGE_TOKEN_INVALID.
     */
    public ListFailedRowsResponse listFailedRows(ListFailedRowsRequest request) {
        return calls.unary(LIST_FAILED_ROWS, request, true, timeout);
    }

    /**
     * ListConnections lists the connections that the tenant's sources may use, and the folders of the server below which folders may be
     * connected. All are on one page, ordered by name. The owner of the installation declares connections in files.
     */
    public ListConnectionsResponse listConnections(ListConnectionsRequest request) {
        return calls.unary(LIST_CONNECTIONS, request, true, timeout);
    }

    /**
     * ReloadAgents reads the declarations of all tools and the files of all agents again, and replaces every valid tool and agent in one
     * step. An agent with a mistake in its files keeps its previous version, and the response reports the mistakes. Running turns keep
     * their versions. The server asks the other servers to reload too. Only owners of the installation may make this call.
     *
     * <p>Errors: ROLE_REQUIRED, PART_UNAVAILABLE (in this case, no agent has changed).
     */
    public ReloadAgentsResponse reloadAgents(ReloadAgentsRequest request) {
        return calls.unary(RELOAD_AGENTS, request, true, timeout);
    }

    /**
     * ListAgentVersions lists the versions of an agent that servers of this installation have read, the newest first.
     *
     * <p>Errors: RESOURCE_NOT_FOUND, PAGE_TOKEN_INVALID.
     */
    public ListAgentVersionsResponse listAgentVersions(ListAgentVersionsRequest request) {
        return calls.unary(LIST_AGENT_VERSIONS, request, true, timeout);
    }

    /**
     * GetAgentVersion returns a version of an agent, to owners of the installation with its content.
     *
     * <p>Errors: RESOURCE_NOT_FOUND.
     */
    public AgentVersion getAgentVersion(GetAgentVersionRequest request) {
        return calls.unary(GET_AGENT_VERSION, request, true, timeout);
    }

    /**
     * CreateAgentVersion creates a version of an agent from a whole configuration, which is checked like the agent's files. It does not
     * answer questions that do not name it. If a version has the same content, the call returns that version and its card. An agent
     * whose {@code config} has {@code standard: true} needs no files, and no steps of its own: it begins to exist when its first version
     * is published. Only owners of the installation may make this call.
     *
     * <p>Errors: ROLE_REQUIRED, RESOURCE_NOT_FOUND, INVALID_FIELD (a violation for each mistake, at its key in {@code config} where it
     * has one).
     */
    public AgentVersion createAgentVersion(CreateAgentVersionRequest request) {
        return calls.unary(CREATE_AGENT_VERSION, request, true, timeout);
    }

    /**
     * PublishAgentVersion lets a version answer the agent's new questions in place of the version of its files, on every server with the
     * same files, until the files or the default model change. A version with {@code standard: true} answers on every server, whatever
     * the files are, until the version of the files is published; it uses the default model of the day. Running turns keep their
     * versions. Only owners of the installation may make this call.
     *
     * <p>Errors: ROLE_REQUIRED, RESOURCE_NOT_FOUND, AGENT_VERSION_UNFIT, ETAG_MISMATCH, PRICE_UNKNOWN.
     */
    public Agent publishAgentVersion(PublishAgentVersionRequest request) {
        return calls.unary(PUBLISH_AGENT_VERSION, request, !Calls.hasEtag(request), timeout);
    }

    /**
     * RollbackAgentVersion takes back the last publication of an agent, which must be that of the named version. Then the version
     * answers that answered before it was published; an agent without files is out of service after its first publication was taken
     * back, and only its name is returned. Only owners of the installation may make this call.
     *
     * <p>Errors: ROLE_REQUIRED, RESOURCE_NOT_FOUND, AGENT_VERSION_NOT_PUBLISHED.
     */
    public Agent rollbackAgentVersion(RollbackAgentVersionRequest request) {
        return calls.unary(ROLLBACK_AGENT_VERSION, request, false, timeout);
    }

    /**
     * UpdateAgent changes whether people and programs are offered an agent ({@code listed}), on every server, until a version with
     * {@code standard: true} is published. Only owners of the installation may make this call.
     *
     * <p>Errors: ROLE_REQUIRED, RESOURCE_NOT_FOUND, UPDATE_MASK_INVALID, ETAG_MISMATCH.
     */
    public Agent updateAgent(UpdateAgentRequest request) {
        return calls.unary(UPDATE_AGENT, request, !Calls.hasEtag(request), timeout);
    }

    /**
     * CreateExperiment begins an experiment with a version of an agent. Every server splits new questions within five seconds. An agent
     * has at most one running experiment. Only owners of the installation may make this call, and the others about experiments.
     *
     * <p>Errors: ROLE_REQUIRED, INVALID_FIELD, RESOURCE_NOT_FOUND, AGENT_VERSION_UNFIT, EXPERIMENT_RUNNING,
     * EXPERIMENT_PARAMETERS_DIFFER.
     */
    public Experiment createExperiment(CreateExperimentRequest request) {
        return calls.unary(CREATE_EXPERIMENT, request, false, timeout);
    }

    /**
     * GetExperiment returns an experiment.
     *
     * <p>Errors: ROLE_REQUIRED, RESOURCE_NOT_FOUND.
     */
    public Experiment getExperiment(GetExperimentRequest request) {
        return calls.unary(GET_EXPERIMENT, request, true, timeout);
    }

    /**
     * ListExperiments lists the experiments of all agents, the newest first.
     *
     * <p>Errors: ROLE_REQUIRED, PAGE_TOKEN_INVALID.
     */
    public ListExperimentsResponse listExperiments(ListExperimentsRequest request) {
        return calls.unary(LIST_EXPERIMENTS, request, true, timeout);
    }

    /**
     * StopExperiment ends an experiment, if it still runs. The baseline then answers alone.
     *
     * <p>Errors: ROLE_REQUIRED, RESOURCE_NOT_FOUND.
     */
    public Experiment stopExperiment(StopExperimentRequest request) {
        return calls.unary(STOP_EXPERIMENT, request, true, timeout);
    }

    /**
     * GetExperimentReport compares the versions of an experiment by the turns that ended until a few seconds ago. It may be read at any
     * time; the intervals allow for that.
     *
     * <p>Errors: ROLE_REQUIRED, RESOURCE_NOT_FOUND.
     */
    public ExperimentReport getExperimentReport(GetExperimentReportRequest request) {
        return calls.unary(GET_EXPERIMENT_REPORT, request, true, timeout);
    }

    /**
     * CreateUser creates a user of the caller's tenant. The user has no credential yet.
     *
     * <p>Errors: INVALID_FIELD, REQUEST_ID_REUSED, RESOURCE_ALREADY_EXISTS (another user of the tenant has the e-mail address),
     * SIGN_IN_REQUIRED (the role is ADMIN, and the caller's session began more than ten minutes ago).
     */
    public User createUser(CreateUserRequest request) {
        return calls.unary(CREATE_USER, request, true, timeout);
    }

    /**
     * GetUser returns one user of the tenant.
     *
     * <p>Errors: RESOURCE_NOT_FOUND.
     */
    public User getUser(GetUserRequest request) {
        return calls.unary(GET_USER, request, true, timeout);
    }

    /**
     * LookupUser returns the user with an e-mail address; upper and lower case do not matter.
     *
     * <p>Errors: INVALID_FIELD, RESOURCE_NOT_FOUND.
     */
    public User lookupUser(LookupUserRequest request) {
        return calls.unary(LOOKUP_USER, request, true, timeout);
    }

    /**
     * ListUsers lists the tenant's users, disabled ones included, oldest first by default.
     *
     * <p>Errors: PAGE_TOKEN_INVALID, FILTER_INVALID, ORDER_BY_INVALID.
     */
    public ListUsersResponse listUsers(ListUsersRequest request) {
        return calls.unary(LIST_USERS, request, true, timeout);
    }

    /**
     * UpdateUser changes the fields that update_mask names (display_name, email, role, subject). If the call fails, it changes nothing.
     * On the server that handled the change, a new role takes effect at the user's next call. On other servers, it takes effect within a
     * second. All keys of a service that gets another role are revoked, because administrators may have created them. The call cannot
     * take the role ADMIN from the tenant's last administrator who is not disabled. Only an owner of the installation may change the
     * email, the role or the subject of an owner. An owner who loses the role ADMIN is no longer an owner.
     *
     * <p>Errors: RESOURCE_NOT_FOUND, UPDATE_MASK_INVALID, INVALID_FIELD, ETAG_MISMATCH, RESOURCE_ALREADY_EXISTS (another user of the
     * tenant has the e-mail address), LAST_ADMINISTRATOR, LAST_OWNER, ROLE_REQUIRED (the user is an owner), SIGN_IN_REQUIRED (the
     * caller's session began more than ten minutes ago, and the call changes the email or gives the role ADMIN).
     */
    public User updateUser(UpdateUserRequest request) {
        return calls.unary(UPDATE_USER, request, !Calls.hasEtag(request), timeout);
    }

    /**
     * GetUserLimits returns the limits of a user.
     *
     * <p>Errors: RESOURCE_NOT_FOUND.
     */
    public UserLimits getUserLimits(GetUserLimitsRequest request) {
        return calls.unary(GET_USER_LIMITS, request, true, timeout);
    }

    /**
     * UpdateUserLimits sets or removes the exceptions that update_mask names. If the call fails, it changes nothing. The exceptions
     * apply to all credentials of the user, on this server at once and on the others within two seconds. Setting a limit to its present
     * value changes nothing.
     *
     * <p>Errors: RESOURCE_NOT_FOUND, UPDATE_MASK_INVALID, INVALID_FIELD, ROLE_REQUIRED (the user is an owner of the installation, and
     * the caller is not).
     */
    public UserLimits updateUserLimits(UpdateUserLimitsRequest request) {
        return calls.unary(UPDATE_USER_LIMITS, request, true, timeout);
    }

    /**
     * DisableUser makes all further calls of a user fail with USER_DISABLED, whatever the credential. The change takes effect at once on
     * this server, and within a second on others. The user's open streams end with the same error within a second; turns go on to their
     * end. Nothing of the user is deleted. Disabling a disabled user changes nothing. Only an owner of the installation may disable an
     * owner.
     *
     * <p>Errors: RESOURCE_NOT_FOUND, ETAG_MISMATCH, LAST_ADMINISTRATOR, LAST_OWNER, ROLE_REQUIRED (the user is an owner).
     */
    public User disableUser(DisableUserRequest request) {
        return calls.unary(DISABLE_USER, request, !Calls.hasEtag(request), timeout);
    }

    /**
     * EnableUser lets a disabled user make calls again. The user's credentials work again, except those that have expired or were
     * revoked in the meantime. Enabling a user who is not disabled changes nothing.
     *
     * <p>Errors: RESOURCE_NOT_FOUND, ETAG_MISMATCH, ROLE_REQUIRED (the user is an owner of the installation, and the caller is not).
     */
    public User enableUser(EnableUserRequest request) {
        return calls.unary(ENABLE_USER, request, !Calls.hasEtag(request), timeout);
    }

    /**
     * RevokeCredentials ends all sessions of a user and revokes all API keys of the user. If the call fails, nothing is ended or
     * revoked. The change takes effect on all servers within a second, and the user's open streams end. Keys that were created with
     * these keys are revoked too. The user is not disabled: whoever has the password can sign in again. Codes that set a new password
     * stay valid. If callers name themselves, the call also ends the session, or revokes the key, with which they make it. If the user
     * is an owner of the installation, only owners may make this call.
     *
     * <p>Errors: RESOURCE_NOT_FOUND, ROLE_REQUIRED (the user is an owner of the installation, and the caller is not).
     */
    public RevokeCredentialsResponse revokeCredentials(RevokeCredentialsRequest request) {
        return calls.unary(REVOKE_CREDENTIALS, request, true, timeout);
    }

    /**
     * DeleteUser deletes a user with all that belongs to the user, as AuthService.DeleteMe does. A repeated call returns the same
     * receipt, which then also counts what was deleted after the first call. If the call is interrupted, or there is much to delete, the
     * server continues after the call. The last administrator who is not disabled cannot be deleted.
     *
     * <p>Errors: RESOURCE_NOT_FOUND, ETAG_MISMATCH, LAST_ADMINISTRATOR, LAST_OWNER, ROLE_REQUIRED (the user is an owner, and the caller
     * is not), INVALID_FIELD (hand_over_to), COLLECTION_NOT_EMPTY (without hand_over_to, a collection of the user holds documents of
     * other users), SIGN_IN_REQUIRED (the caller's session began more than ten minutes ago).
     */
    public DeletionReceipt deleteUser(DeleteUserRequest request) {
        return calls.unary(DELETE_USER, request, !Calls.hasEtag(request), timeout);
    }

    /**
     * GrantOwnership makes another administrator of the installation's own tenant an owner of the installation. The change takes effect
     * at once on this server, and within a second on others. Only owners may make this call. If the caller uses a session, its sign-in
     * must be at most ten minutes old. A second call changes nothing.
     *
     * <p>Errors: ROLE_REQUIRED, SIGN_IN_REQUIRED, RESOURCE_NOT_FOUND, INVALID_FIELD (the user is disabled or not an administrator).
     */
    public User grantOwnership(GrantOwnershipRequest request) {
        return calls.unary(GRANT_OWNERSHIP, request, true, timeout);
    }

    /**
     * RevokeOwnership ends the ownership of a user, who stays an administrator. Only owners may make this call. If the caller uses a
     * session, its sign-in must be at most ten minutes old. The last enabled owner's ownership cannot be revoked. A second call changes
     * nothing.
     *
     * <p>Errors: ROLE_REQUIRED, SIGN_IN_REQUIRED, RESOURCE_NOT_FOUND, LAST_OWNER.
     */
    public User revokeOwnership(RevokeOwnershipRequest request) {
        return calls.unary(REVOKE_OWNERSHIP, request, true, timeout);
    }

    /**
     * CreateServiceGrant lets a service act on behalf of one user, or of all users with the role USER. A grant always lets a service act
     * for users with the role USER, and never for another service, so grants cannot form a cycle. A second call for the same service and
     * user returns the same grant.
     *
     * <p>Errors: INVALID_FIELD (the service or the user has another role or is disabled), RESOURCE_NOT_FOUND.
     */
    public ServiceGrant createServiceGrant(CreateServiceGrantRequest request) {
        return calls.unary(CREATE_SERVICE_GRANT, request, true, timeout);
    }

    /**
     * ListServiceGrants lists the tenant's grants, oldest first by default.
     *
     * <p>Errors: PAGE_TOKEN_INVALID, FILTER_INVALID, ORDER_BY_INVALID.
     */
    public ListServiceGrantsResponse listServiceGrants(ListServiceGrantsRequest request) {
        return calls.unary(LIST_SERVICE_GRANTS, request, true, timeout);
    }

    /**
     * DeleteServiceGrant deletes a grant. The service's further calls on behalf of the user fail with GRANT_REQUIRED, at once on this
     * server and within a second on others. Open streams end within a second. Running turns continue to their end.
     *
     * <p>Errors: RESOURCE_NOT_FOUND.
     */
    public void deleteServiceGrant(DeleteServiceGrantRequest request) {
        calls.unary(DELETE_SERVICE_GRANT, request, false, timeout);
    }

    /**
     * CreateTenant creates a tenant, and a code with which its first administrator registers. If administrator_name is set, the call
     * creates no code. Instead, it creates the administrator, with an API key. The code and the key are in this response alone;
     * InviteTenantAdministrator makes another code. Only owners of the installation may make this call. If the caller uses a session,
     * its sign-in must be at most ten minutes old.
     *
     * <p>Errors: ROLE_REQUIRED, SIGN_IN_REQUIRED, INVALID_FIELD, RESOURCE_ALREADY_EXISTS (the id is or was in use), REGISTRATION_CLOSED
     * (without administrator_name).
     */
    public CreateTenantResponse createTenant(CreateTenantRequest request) {
        return calls.unary(CREATE_TENANT, request, false, timeout);
    }

    /**
     * InviteTenantAdministrator makes a code with which an administrator of the tenant registers, e.g. because the first code has
     * expired. The tenant's audit log records the call. Only owners of the installation may make this call. If the caller uses a
     * session, its sign-in must be at most ten minutes old.
     *
     * <p>Errors: ROLE_REQUIRED, RESOURCE_NOT_FOUND, TENANT_STATE, REGISTRATION_CLOSED, SIGN_IN_REQUIRED.
     */
    public InviteTenantAdministratorResponse inviteTenantAdministrator(InviteTenantAdministratorRequest request) {
        return calls.unary(INVITE_TENANT_ADMINISTRATOR, request, false, timeout);
    }

    /**
     * GetTenant returns one tenant. Only owners of the installation may make this call.
     *
     * <p>Errors: ROLE_REQUIRED, RESOURCE_NOT_FOUND.
     */
    public Tenant getTenant(GetTenantRequest request) {
        return calls.unary(GET_TENANT, request, true, timeout);
    }

    /**
     * ListTenants lists all tenants, erased ones included, oldest first by default. Only owners of the installation may make this call.
     *
     * <p>Errors: ROLE_REQUIRED, PAGE_TOKEN_INVALID, FILTER_INVALID, ORDER_BY_INVALID.
     */
    public ListTenantsResponse listTenants(ListTenantsRequest request) {
        return calls.unary(LIST_TENANTS, request, true, timeout);
    }

    /**
     * SuspendTenant suspends a tenant. Within a second, all servers refuse further calls of the tenant's users with TENANT_SUSPENDED,
     * and end the open streams of these users. Sign-ins fail as if the tenant did not exist. The tenant's running and waiting turns are
     * cancelled; its jobs wait until the tenant is resumed. A second call changes nothing. Only owners of the installation may make this
     * call.
     *
     * <p>Errors: ROLE_REQUIRED, RESOURCE_NOT_FOUND, TENANT_STATE (the installation's own tenant), SIGN_IN_REQUIRED (the caller's session
     * began more than ten minutes ago).
     */
    public Tenant suspendTenant(SuspendTenantRequest request) {
        return calls.unary(SUSPEND_TENANT, request, true, timeout);
    }

    /**
     * ResumeTenant lets the users of a suspended tenant make calls again. A second call changes nothing. Only owners of the installation
     * may make this call.
     *
     * <p>Errors: ROLE_REQUIRED, RESOURCE_NOT_FOUND, TENANT_STATE (the tenant is being erased).
     */
    public Tenant resumeTenant(ResumeTenantRequest request) {
        return calls.unary(RESUME_TENANT, request, true, timeout);
    }

    /**
     * EraseTenant suspends a tenant and begins to erase all that belongs to it: users, keys, sessions, conversations, turns, documents
     * with their originals, vectors, cached data. The erasure cannot be stopped or undone. The response comes at once; GetTenant shows
     * the state and the receipt. If a server stops during an erasure, another server finishes the erasure, or the same server does so
     * later. The audit log keeps its events and the ids in them, but no network addresses. A second call changes nothing. Only owners of
     * the installation may make this call.
     *
     * <p>Errors: ROLE_REQUIRED, RESOURCE_NOT_FOUND, INVALID_FIELD (confirm_tenant_id is not the tenant's id), TENANT_STATE (the
     * installation's own tenant), SIGN_IN_REQUIRED (the caller's session began more than ten minutes ago).
     */
    public Tenant eraseTenant(EraseTenantRequest request) {
        return calls.unary(ERASE_TENANT, request, true, timeout);
    }

    /**
     * GetUserQuota returns the limits that were set for a user of the tenant, and what the user has used and stored.
     *
     * <p>Errors: RESOURCE_NOT_FOUND.
     */
    public UserQuota getUserQuota(GetUserQuotaRequest request) {
        return calls.unary(GET_USER_QUOTA, request, true, timeout);
    }

    /**
     * UpdateUserQuota changes the limits that update_mask names. If the call fails, it changes nothing. If the mask names a limit that
     * the request leaves unset, the limit of the user's role applies again. A new limit applies from the user's next question on; open
     * questions keep what they have reserved.
     *
     * <p>Errors: RESOURCE_NOT_FOUND, UPDATE_MASK_INVALID, INVALID_FIELD, ETAG_MISMATCH, ROLE_REQUIRED (the user is an owner of the
     * installation, and the caller is not).
     */
    public UserQuota updateUserQuota(UpdateUserQuotaRequest request) {
        return calls.unary(UPDATE_USER_QUOTA, request, !Calls.hasEtag(request), timeout);
    }

    /**
     * CreateServiceApiKey creates a key for a service, which is a user of the tenant with the role SERVICE. A service cannot sign in to
     * create a key itself. If the caller uses a session, its sign-in must be at most ten minutes old. Only this response contains the
     * secret, because the server keeps no copy. A repeated call with the same request_id returns the key without its secret. Calls with
     * the key are made as the service, not as the administrator who created the key. The key becomes invalid when the service is deleted
     * or gets another role. The key stays valid if the caller is deleted or the caller's key is revoked.
     *
     * <p>Errors: RESOURCE_NOT_FOUND (the service or the agent), INVALID_FIELD (the user is not a service), REQUEST_ID_REUSED,
     * SIGN_IN_REQUIRED, ROLE_REQUIRED (the user is an owner of the installation, and the caller is not), LIMIT_REACHED (the service has
     * too many keys that are neither revoked nor expired).
     */
    public CreateServiceApiKeyResponse createServiceApiKey(CreateServiceApiKeyRequest request) {
        return calls.unary(CREATE_SERVICE_API_KEY, request, false, timeout);
    }

    /**
     * ListTenantApiKeys lists the keys of all users of the tenant, keys of owners of the installation included, newest first by default.
     * The list includes revoked keys.
     *
     * <p>Errors: PAGE_TOKEN_INVALID, FILTER_INVALID, ORDER_BY_INVALID.
     */
    public ListTenantApiKeysResponse listTenantApiKeys(ListTenantApiKeysRequest request) {
        return calls.unary(LIST_TENANT_API_KEYS, request, true, timeout);
    }

    /**
     * RevokeTenantApiKey revokes a key of any user of the tenant at once, together with all keys that were created with it and all
     * sessions that these keys began. Revoking a key again changes nothing.
     *
     * <p>Errors: RESOURCE_NOT_FOUND, ROLE_REQUIRED (it is a key of an owner of the installation, and the caller is not an owner).
     */
    public ApiKey revokeTenantApiKey(RevokeTenantApiKeyRequest request) {
        return calls.unary(REVOKE_TENANT_API_KEY, request, true, timeout);
    }

    /**
     * ListTenantSessions lists the sessions of all users of the tenant that have not ended, newest first by default.
     *
     * <p>Errors: PAGE_TOKEN_INVALID, FILTER_INVALID, ORDER_BY_INVALID.
     */
    public ListTenantSessionsResponse listTenantSessions(ListTenantSessionsRequest request) {
        return calls.unary(LIST_TENANT_SESSIONS, request, true, timeout);
    }

    /**
     * RevokeTenantSessions ends sessions of users of the tenant on all servers within a second, open streams included. Names of sessions
     * that do not exist are ignored. The users can sign in again; DisableUser keeps a user out. Only an owner may end the sessions of an
     * owner.
     *
     * <p>Errors: INVALID_FIELD, ROLE_REQUIRED.
     */
    public RevokeTenantSessionsResponse revokeTenantSessions(RevokeTenantSessionsRequest request) {
        return calls.unary(REVOKE_TENANT_SESSIONS, request, true, timeout);
    }

    /**
     * ListAuditEvents lists the tenant's audit log, newest first by default. The log has an event for each change that a call of this
     * service makes, for each act on a user or a key, and for each cancellation or deletion of a resource of another user. If the server
     * refuses such a change, or refuses a call of this service because the caller lacks the right, the log also has an event. Invalid
     * requests leave no event. The server's settings determine how long it keeps the events.
     *
     * <p>Errors: PAGE_TOKEN_INVALID, FILTER_INVALID, ORDER_BY_INVALID.
     */
    public ListAuditEventsResponse listAuditEvents(ListAuditEventsRequest request) {
        return calls.unary(LIST_AUDIT_EVENTS, request, true, timeout);
    }

    /**
     * QueryUsage counts what the tenant's users have asked, searched and uploaded, by period and group, ordered by time. The counts of
     * all users together include those of deleted users. The call returns at most 10,000 rows.
     *
     * <p>Errors: INVALID_FIELD (the time is empty, or the report would have more rows).
     */
    public QueryUsageResponse queryUsage(QueryUsageRequest request) {
        return calls.unary(QUERY_USAGE, request, true, timeout);
    }

    /**
     * ListFeedback lists the feedback of the tenant's users, the latest first by default. Feedback is deleted with its conversation.
     *
     * <p>Errors: PAGE_TOKEN_INVALID, FILTER_INVALID, ORDER_BY_INVALID.
     */
    public ListFeedbackResponse listFeedback(ListFeedbackRequest request) {
        return calls.unary(LIST_FEEDBACK, request, true, timeout);
    }

    /**
     * ResolveFeedback sets the state of feedback, with a note. The user who gave the feedback sees neither.
     *
     * <p>Errors: RESOURCE_NOT_FOUND.
     */
    public GivenFeedback resolveFeedback(ResolveFeedbackRequest request) {
        return calls.unary(RESOLVE_FEEDBACK, request, true, timeout);
    }

    /**
     * GetShownExchange returns the question and the answer to which feedback belongs, if the user shows them, whatever
     * InsightSettings.question_texts says. The audit log records each call.
     *
     * <p>Errors: RESOURCE_NOT_FOUND (also if the user does not show them, or no longer).
     */
    public ShownExchange getShownExchange(GetShownExchangeRequest request) {
        return calls.unary(GET_SHOWN_EXCHANGE, request, true, timeout);
    }

    /**
     * GetFeedbackStats counts the feedback that was given or changed in a time, by agent.
     *
     * <p>Errors: INVALID_FIELD (the time is empty).
     */
    public GetFeedbackStatsResponse getFeedbackStats(GetFeedbackStatsRequest request) {
        return calls.unary(GET_FEEDBACK_STATS, request, true, timeout);
    }

    /**
     * GetQualityStats says how well the turns that were asked in a time went: all together first, then by agent; and, with a
     * granularity, in each period.
     *
     * <p>Errors: INVALID_FIELD (the time is empty, or has more than 1,000 periods).
     */
    public GetQualityStatsResponse getQualityStats(GetQualityStatsRequest request) {
        return calls.unary(GET_QUALITY_STATS, request, true, timeout);
    }

    /**
     * ListTenantTurns lists the turns of the tenant's users that were asked in a time and have ended, newest first by default. Turns are
     * deleted with their conversation.
     *
     * <p>Errors: PAGE_TOKEN_INVALID, FILTER_INVALID, ORDER_BY_INVALID, INVALID_FIELD (the time is empty).
     */
    public ListTenantTurnsResponse listTenantTurns(ListTenantTurnsRequest request) {
        return calls.unary(LIST_TENANT_TURNS, request, true, timeout);
    }

    /**
     * ListQuestionPatterns groups the questions of the tenant's users by meaning, and says how many there are and what became of them,
     * those of the most questions first. With the outcome NO_SUPPORT, it says what the documents lack. A question counts once, also when
     * its conversation has been deleted.
     *
     * <p>Errors: PAGE_TOKEN_INVALID, FILTER_INVALID, INVALID_FIELD (the time is empty).
     */
    public ListQuestionPatternsResponse listQuestionPatterns(ListQuestionPatternsRequest request) {
        return calls.unary(LIST_QUESTION_PATTERNS, request, true, timeout);
    }

    /**
     * UpdateQuestionPattern changes the fields that update_mask names (state, note, assignee), and returns the pattern without what a
     * report counts or names. A pattern that is DONE opens again, as REOPENED, when no document supports an answer to a later question.
     * The users who asked see nothing of it.
     *
     * <p>Errors: RESOURCE_NOT_FOUND, UPDATE_MASK_INVALID, ETAG_MISMATCH, INVALID_FIELD (the assignee is not an active administrator).
     */
    public QuestionPattern updateQuestionPattern(UpdateQuestionPatternRequest request) {
        return calls.unary(UPDATE_QUESTION_PATTERN, request, !Calls.hasEtag(request), timeout);
    }

    /**
     * GetInsightSettings returns the tenant's settings.
     */
    public InsightSettings getInsightSettings(GetInsightSettingsRequest request) {
        return calls.unary(GET_INSIGHT_SETTINGS, request, true, timeout);
    }

    /**
     * UpdateInsightSettings changes the settings that update_mask names (question_texts, cost_usd_micros_per_month).
     *
     * <p>Errors: UPDATE_MASK_INVALID.
     */
    public InsightSettings updateInsightSettings(UpdateInsightSettingsRequest request) {
        return calls.unary(UPDATE_INSIGHT_SETTINGS, request, true, timeout);
    }

    /**
     * GetModels returns the language models that agents use by default, and the providers that can be chosen. Only owners of the
     * installation may make this call.
     *
     * <p>Errors: ROLE_REQUIRED.
     */
    public ModelSettings getModels(GetModelsRequest request) {
        return calls.unary(GET_MODELS, request, true, timeout);
    }

    /**
     * SetDefaultModel stores the model that {@code default} stands for in the chains of agents, or with an empty {@code default_model},
     * that there is none. All servers use it for new questions within seconds; running turns keep their models. Unless skip_test is set,
     * the server first tests the model as TestModel does, and changes nothing if the test fails. The model cannot be set while the
     * setting models.default of the server names models. Only owners of the installation may make this call. If the caller uses a
     * session, its sign-in must be at most ten minutes old.
     *
     * <p>Errors: ROLE_REQUIRED, SIGN_IN_REQUIRED, INVALID_FIELD, MODEL_FIXED, MODEL_TEST_FAILED, PRICE_UNKNOWN.
     */
    public ModelSettings setDefaultModel(SetDefaultModelRequest request) {
        return calls.unary(SET_DEFAULT_MODEL, request, true, timeout);
    }

    /**
     * TestModel sends a model what agents send, step by step, with a key and an address that need not be stored, for at most two
     * minutes. What the model's server refuses is learned for all servers. The test fails only if no answer can come. Without a model,
     * it asks the provider which models it has. The stored key is sent only to the stored address. The call succeeds if the test fails;
     * the outcome says why. Only owners of the installation may make this call. If the caller uses a session, its sign-in must be at
     * most ten minutes old.
     *
     * <p>Errors: ROLE_REQUIRED, SIGN_IN_REQUIRED, INVALID_FIELD.
     */
    public TestModelResponse testModel(TestModelRequest request) {
        return calls.unary(TEST_MODEL, request, false, timeout);
    }

    /**
     * CreateGroup creates a group without members.
     *
     * <p>Errors: INVALID_FIELD, REQUEST_ID_REUSED, RESOURCE_ALREADY_EXISTS (another group has the group_id).
     */
    public Group createGroup(CreateGroupRequest request) {
        return calls.unary(CREATE_GROUP, request, true, timeout);
    }

    /**
     * GetGroup returns one group. Everyone in the tenant may make this call.
     *
     * <p>Errors: RESOURCE_NOT_FOUND.
     */
    public Group getGroup(GetGroupRequest request) {
        return calls.unary(GET_GROUP, request, true, timeout);
    }

    /**
     * ListGroups lists the tenant's groups, oldest first by default. Everyone in the tenant may make this call, to share a collection
     * with a group.
     *
     * <p>Errors: PAGE_TOKEN_INVALID, FILTER_INVALID, ORDER_BY_INVALID.
     */
    public ListGroupsResponse listGroups(ListGroupsRequest request) {
        return calls.unary(LIST_GROUPS, request, true, timeout);
    }

    /**
     * UpdateGroup changes the fields that update_mask names (display_name, provider_groups). If the call fails, it changes nothing.
     *
     * <p>Errors: RESOURCE_NOT_FOUND, UPDATE_MASK_INVALID, INVALID_FIELD, ETAG_MISMATCH.
     */
    public Group updateGroup(UpdateGroupRequest request) {
        return calls.unary(UPDATE_GROUP, request, !Calls.hasEtag(request), timeout);
    }

    /**
     * DeleteGroup deletes a group. From the next call on, its members can no longer read the collections that were shared with them by
     * this group alone.
     *
     * <p>Errors: RESOURCE_NOT_FOUND, ETAG_MISMATCH.
     */
    public void deleteGroup(DeleteGroupRequest request) {
        calls.unary(DELETE_GROUP, request, false, timeout);
    }

    /**
     * AddGroupMembers adds users, and whoever registers with some open invitations, to a group. From the next call on, they can read the
     * collections that are shared with the group. A user who is a member already stays one. If the call fails, it adds nobody.
     *
     * <p>Errors: RESOURCE_NOT_FOUND, INVALID_FIELD (one of the users does not exist).
     */
    public Group addGroupMembers(AddGroupMembersRequest request) {
        return calls.unary(ADD_GROUP_MEMBERS, request, true, timeout);
    }

    /**
     * RemoveGroupMembers removes users from a group. From the next call on, they can no longer read the collections that were shared
     * with them by this group alone; their open streams show it within a second. A user who is no member changes nothing.
     *
     * <p>Errors: RESOURCE_NOT_FOUND.
     */
    public Group removeGroupMembers(RemoveGroupMembersRequest request) {
        return calls.unary(REMOVE_GROUP_MEMBERS, request, true, timeout);
    }

    /**
     * ListGroupMembers lists the members of a group, disabled users included, in the order in which they became members by default.
     *
     * <p>Errors: RESOURCE_NOT_FOUND, PAGE_TOKEN_INVALID, FILTER_INVALID, ORDER_BY_INVALID.
     */
    public ListGroupMembersResponse listGroupMembers(ListGroupMembersRequest request) {
        return calls.unary(LIST_GROUP_MEMBERS, request, true, timeout);
    }
}
