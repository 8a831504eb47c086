"""The table that states, for each method, which callers may call it. The code that looks up a resource decides whether the caller may see
that resource.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum


class Rule(StrEnum):
    """The callers that may make a call. PUBLIC: anyone, without a credential. MEMBER: anyone with a valid
    credential. OWN: the same, but never a service on behalf of a user, because the call is about the user's account and credentials. SERVICE: services in their own names, and administrators. ADMIN: callers with the role
    admin. OWNER: owners of the installation.
    """

    PUBLIC = "public"
    MEMBER = "member"
    OWN = "own"
    SERVICE = "service"
    ADMIN = "admin"
    OWNER = "owner"


_CHAT = "/responsa.chat.v1.ChatService/"
_KNOWLEDGE = "/responsa.knowledge.v1.KnowledgeService/"
_AUTH = "/responsa.auth.v1.AuthService/"
_ADMIN = "/responsa.admin.v1.AdminService/"
_OPERATIONS = "/google.longrunning.Operations/"

RULES: Mapping[str, Rule] = {
    _CHAT + "Ask": Rule.MEMBER,
    _CHAT + "StartTurn": Rule.MEMBER,
    _CHAT + "Answer": Rule.MEMBER,
    _CHAT + "ResumeTurn": Rule.MEMBER,
    # Only administrators and the turn's owner may cancel a turn. The lookup of the turn checks this, so that other callers get the same
    # error as for a turn that does not exist.
    _CHAT + "CancelTurn": Rule.MEMBER,
    _CHAT + "GetTurn": Rule.MEMBER,
    _CHAT + "ListTurns": Rule.MEMBER,
    _CHAT + "CreateConversation": Rule.MEMBER,
    _CHAT + "GetConversation": Rule.MEMBER,
    _CHAT + "ListConversations": Rule.MEMBER,
    _CHAT + "UpdateConversation": Rule.MEMBER,
    _CHAT + "DeleteConversation": Rule.MEMBER,
    _CHAT + "ListMessages": Rule.MEMBER,
    _CHAT + "GetMessage": Rule.MEMBER,
    _CHAT + "VerifyCitations": Rule.MEMBER,
    _CHAT + "SubmitFeedback": Rule.MEMBER,
    _CHAT + "GetFeedback": Rule.MEMBER,
    _CHAT + "ListAgents": Rule.MEMBER,
    _CHAT + "GetAgent": Rule.MEMBER,
    _CHAT + "ListTools": Rule.MEMBER,
    _CHAT + "GetTool": Rule.MEMBER,
    _KNOWLEDGE + "CreateCollection": Rule.MEMBER,
    _KNOWLEDGE + "GetCollection": Rule.MEMBER,
    _KNOWLEDGE + "ListCollections": Rule.MEMBER,
    _KNOWLEDGE + "UpdateCollection": Rule.MEMBER,
    _KNOWLEDGE + "DeleteCollection": Rule.MEMBER,
    _KNOWLEDGE + "ListGenerations": Rule.MEMBER,
    _KNOWLEDGE + "ReindexCollection": Rule.MEMBER,
    _KNOWLEDGE + "ActivateGeneration": Rule.MEMBER,
    _KNOWLEDGE + "DeleteGeneration": Rule.MEMBER,
    _KNOWLEDGE + "UploadDocument": Rule.MEMBER,
    _KNOWLEDGE + "CreateDocument": Rule.MEMBER,
    _KNOWLEDGE + "GetDocument": Rule.MEMBER,
    _KNOWLEDGE + "ListDocuments": Rule.MEMBER,
    _KNOWLEDGE + "UpdateDocument": Rule.MEMBER,
    _KNOWLEDGE + "DeleteDocument": Rule.MEMBER,
    _KNOWLEDGE + "GetDocumentContent": Rule.MEMBER,
    _KNOWLEDGE + "GetDocumentOriginal": Rule.MEMBER,
    _KNOWLEDGE + "GetDocumentPage": Rule.MEMBER,
    _KNOWLEDGE + "ListDocumentVersions": Rule.MEMBER,
    _KNOWLEDGE + "CompareDocumentVersions": Rule.MEMBER,
    _KNOWLEDGE + "RestoreDocumentVersion": Rule.MEMBER,
    _KNOWLEDGE + "ReindexDocument": Rule.MEMBER,
    _KNOWLEDGE + "GetPassage": Rule.MEMBER,
    # Administrators, services and the subject alone. The lookup of the subject checks this.
    _KNOWLEDGE + "GetSubjectProfile": Rule.MEMBER,
    _KNOWLEDGE + "ListFormats": Rule.MEMBER,
    _KNOWLEDGE + "Search": Rule.MEMBER,
    _KNOWLEDGE + "BatchSearch": Rule.MEMBER,
    _KNOWLEDGE + "WatchOperation": Rule.MEMBER,
    _AUTH + "ListSignInMethods": Rule.PUBLIC,
    _AUTH + "Login": Rule.PUBLIC,
    _AUTH + "RefreshToken": Rule.PUBLIC,
    _AUTH + "Logout": Rule.PUBLIC,
    _AUTH + "GetJwks": Rule.PUBLIC,
    _AUTH + "Register": Rule.PUBLIC,
    _AUTH + "ConfirmEmail": Rule.PUBLIC,
    _AUTH + "RequestReset": Rule.PUBLIC,
    _AUTH + "ResetPassword": Rule.PUBLIC,
    _AUTH + "GetMe": Rule.MEMBER,
    _AUTH + "UpdateMe": Rule.OWN,
    _AUTH + "ChangePassword": Rule.OWN,
    _AUTH + "ListSessions": Rule.OWN,
    _AUTH + "RevokeSessions": Rule.OWN,
    _AUTH + "GetMyUsage": Rule.OWN,
    _AUTH + "DeleteMe": Rule.OWN,
    _AUTH + "ListIdentities": Rule.OWN,
    _AUTH + "UnlinkIdentity": Rule.OWN,
    _AUTH + "CreateInvitation": Rule.ADMIN,
    _AUTH + "ListInvitations": Rule.ADMIN,
    _AUTH + "RevokeInvitation": Rule.ADMIN,
    _AUTH + "CreateResetCode": Rule.ADMIN,
    _AUTH + "CreateSessionCode": Rule.OWN,
    _AUTH + "CreateApiKey": Rule.OWN,
    _AUTH + "ListApiKeys": Rule.OWN,
    _AUTH + "RevokeApiKey": Rule.OWN,
    _ADMIN + "GetSystemStatus": Rule.ADMIN,
    _ADMIN + "CreateTeacher": Rule.ADMIN,
    _ADMIN + "GetTeacher": Rule.ADMIN,
    _ADMIN + "ListTeachers": Rule.ADMIN,
    _ADMIN + "UpdateTeacher": Rule.ADMIN,
    _ADMIN + "DeleteTeacher": Rule.ADMIN,
    _ADMIN + "CreateSource": Rule.ADMIN,
    _ADMIN + "GetSource": Rule.ADMIN,
    _ADMIN + "ListSources": Rule.ADMIN,
    _ADMIN + "UpdateSource": Rule.ADMIN,
    _ADMIN + "DeleteSource": Rule.ADMIN,
    _ADMIN + "PreviewSource": Rule.ADMIN,
    _ADMIN + "SyncSource": Rule.ADMIN,
    _ADMIN + "ListFailedRows": Rule.ADMIN,
    _ADMIN + "RetryFailedRows": Rule.ADMIN,
    _ADMIN + "ListDeliveries": Rule.ADMIN,
    _ADMIN + "RedeliverDelivery": Rule.ADMIN,
    _ADMIN + "NotifySubjectChanged": Rule.SERVICE,
    _ADMIN + "ListConnections": Rule.ADMIN,
    _ADMIN + "ReloadAgents": Rule.OWNER,
    _ADMIN + "CreateUser": Rule.ADMIN,
    _ADMIN + "GetUser": Rule.ADMIN,
    _ADMIN + "LookupUser": Rule.ADMIN,
    _ADMIN + "ListUsers": Rule.ADMIN,
    _ADMIN + "UpdateUser": Rule.ADMIN,
    _ADMIN + "GetUserLimits": Rule.ADMIN,
    _ADMIN + "UpdateUserLimits": Rule.ADMIN,
    _ADMIN + "DisableUser": Rule.ADMIN,
    _ADMIN + "EnableUser": Rule.ADMIN,
    _ADMIN + "RevokeCredentials": Rule.ADMIN,
    _ADMIN + "GrantOwnership": Rule.OWNER,
    _ADMIN + "RevokeOwnership": Rule.OWNER,
    _ADMIN + "CreateServiceGrant": Rule.ADMIN,
    _ADMIN + "ListServiceGrants": Rule.ADMIN,
    _ADMIN + "DeleteServiceGrant": Rule.ADMIN,
    _ADMIN + "CreateTenant": Rule.OWNER,
    _ADMIN + "InviteTenantAdministrator": Rule.OWNER,
    _ADMIN + "GetTenant": Rule.OWNER,
    _ADMIN + "ListTenants": Rule.OWNER,
    _ADMIN + "SuspendTenant": Rule.OWNER,
    _ADMIN + "ResumeTenant": Rule.OWNER,
    _ADMIN + "EraseTenant": Rule.OWNER,
    _ADMIN + "GetUserQuota": Rule.ADMIN,
    _ADMIN + "UpdateUserQuota": Rule.ADMIN,
    _ADMIN + "DeleteUser": Rule.ADMIN,
    _ADMIN + "CreateServiceApiKey": Rule.ADMIN,
    _ADMIN + "ListTenantApiKeys": Rule.ADMIN,
    _ADMIN + "RevokeTenantApiKey": Rule.ADMIN,
    _ADMIN + "ListTenantSessions": Rule.ADMIN,
    _ADMIN + "RevokeTenantSessions": Rule.ADMIN,
    _ADMIN + "ListAuditEvents": Rule.ADMIN,
    _OPERATIONS + "ListOperations": Rule.MEMBER,
    _OPERATIONS + "GetOperation": Rule.MEMBER,
    _OPERATIONS + "DeleteOperation": Rule.MEMBER,
    _OPERATIONS + "CancelOperation": Rule.MEMBER,
    _OPERATIONS + "WaitOperation": Rule.MEMBER,
    "/grpc.health.v1.Health/Check": Rule.PUBLIC,
    "/grpc.health.v1.Health/List": Rule.PUBLIC,
    "/grpc.health.v1.Health/Watch": Rule.PUBLIC,
    "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo": Rule.PUBLIC,
}
