"""The part of AdminService that is about usage, quality, feedback and patterns of questions."""

from __future__ import annotations

from functools import partial

from responsa.admin.v1 import admin_service_pb2 as pb
from responsa.admin.v1 import insight_pb2
from responsa.auth.v1 import usage_report_pb2
from responsa_server.calls.call import caller
from responsa_server.calls.convert import insight
from responsa_server.calls.convert.enums import FEEDBACK_STATE, GRANULARITY, QUESTION_OUTCOME
from responsa_server.calls.convert.messages import message
from responsa_server.calls.convert.values import timestamp, unmask, uuid_of
from responsa_server.calls.listing import Listing
from responsa_server.domain import lists
from responsa_server.domain.insight import FeedbackState
from responsa_server.insight.reports import Insight


class InsightService:
    """Usage, quality, feedback and patterns of questions."""

    def __init__(self, reports: Insight) -> None:
        self._reports = reports

    async def QueryUsage(self, request: pb.QueryUsageRequest) -> pb.QueryUsageResponse:
        user_id = uuid_of("user", "users", request.user) if request.user else None
        report = await self._reports.usage(
            caller(), user_id, insight.span(request), *insight.grouping(request)
        )
        return pb.QueryUsageResponse(
            rows=[message(usage_report_pb2.UsageRow, row) for row in report.rows],
            complete_through=timestamp(report.complete_through),
        )

    async def ListFeedback(self, request: pb.ListFeedbackRequest) -> pb.ListFeedbackResponse:
        asked = Listing(lists.FEEDBACK, caller(), request)
        page = await self._reports.store.feedback(caller().tenant_id, asked.query)
        return asked.answer(pb.ListFeedbackResponse, page, partial(message, insight_pb2.GivenFeedback))

    async def ResolveFeedback(self, request: pb.ResolveFeedbackRequest) -> insight_pb2.GivenFeedback:
        message_id = uuid_of("name", "messages", request.name.removesuffix("/feedback"))
        state = FEEDBACK_STATE.value(request.state) or FeedbackState.OPEN
        feedback = await self._reports.resolve(caller(), message_id, state, request.note)
        return message(insight_pb2.GivenFeedback, feedback)

    async def GetShownExchange(self, request: pb.GetShownExchangeRequest) -> insight_pb2.ShownExchange:
        message_id = uuid_of("name", "messages", request.name.removesuffix("/feedback"))
        return insight.exchange(await self._reports.exchange(caller(), message_id))

    async def GetFeedbackStats(self, request: pb.GetFeedbackStatsRequest) -> pb.GetFeedbackStatsResponse:
        counts, complete_through = await self._reports.store.feedback_counts(
            caller().tenant_id, insight.span(request)
        )
        return pb.GetFeedbackStatsResponse(
            counts=[message(insight_pb2.FeedbackCount, count) for count in counts],
            complete_through=timestamp(complete_through),
        )

    async def GetQualityStats(self, request: pb.GetQualityStatsRequest) -> pb.GetQualityStatsResponse:
        granularity = GRANULARITY.value(request.granularity)
        agents, periods, report = await self._reports.quality(caller(), insight.span(request), granularity)
        return pb.GetQualityStatsResponse(
            qualities=[insight.quality(*agent) for agent in agents],
            complete_through=timestamp(report.complete_through),
            periods=[insight.quality(*period) for period in periods],
        )

    async def ListTenantTurns(self, request: pb.ListTenantTurnsRequest) -> pb.ListTenantTurnsResponse:
        time = f"{request.start_time} {request.end_time}"
        asked = Listing(lists.TENANT_TURNS, caller(), request, parent=time)
        page = await self._reports.store.turns(caller().tenant_id, insight.span(request), asked.query)
        return asked.answer(pb.ListTenantTurnsResponse, page, insight.tenant_turn)

    async def ListQuestionPatterns(
        self, request: pb.ListQuestionPatternsRequest
    ) -> pb.ListQuestionPatternsResponse:
        listing = Listing(
            lists.QUESTION_PATTERNS,
            caller(),
            request,
            parent=f"{request.outcome} {request.start_time} {request.end_time}",
        )
        report = await self._reports.patterns.read(
            caller().tenant_id, insight.span(request), QUESTION_OUTCOME.value(request.outcome), listing.query
        )
        return listing.answer(
            pb.ListQuestionPatternsResponse,
            report.page,
            insight.question_pattern,
            other_questions=report.others,
            complete_through=timestamp(report.complete_through),
        )

    async def UpdateQuestionPattern(
        self, request: pb.UpdateQuestionPatternRequest
    ) -> insight_pb2.QuestionPattern:
        pattern = request.question_pattern
        pattern_id = uuid_of("question_pattern.name", "questionPatterns", pattern.name)
        changes = insight.pattern_changes(request)
        return insight.bare_pattern(
            await self._reports.update_pattern(caller(), pattern_id, changes, pattern.etag)
        )

    async def GetInsightSettings(self, request: pb.GetInsightSettingsRequest) -> insight_pb2.InsightSettings:
        return insight.settings(await self._reports.store.settings(caller().tenant_id))

    async def UpdateInsightSettings(
        self, request: pb.UpdateInsightSettingsRequest
    ) -> insight_pb2.InsightSettings:
        settings = request.insight_settings
        paths = unmask(request.update_mask, ("question_texts", "cost_usd_micros_per_month"), settings)
        texts = settings.question_texts if "question_texts" in paths else None
        budget = settings.cost_usd_micros_per_month if "cost_usd_micros_per_month" in paths else None
        return insight.settings(await self._reports.update_settings(caller(), texts, budget))
