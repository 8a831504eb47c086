// Plays the cases of the conformance kit (clients/conformance) with this client.
//
// Usage: go build -o driver ./conformance && python -m clients.conformance -- ./driver
package main

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"log"
	"os"
	"time"

	responsa "responsa.example.org/client"
	chatv1 "responsa.example.org/contract/chat/v1"

	"google.golang.org/protobuf/reflect/protoreflect"
)

type order struct {
	Case          string   `json:"case"`
	Address       string   `json:"address"`
	Tokens        []string `json:"tokens"`
	Start         string   `json:"start"`
	Agent         string   `json:"agent"`
	Text          string   `json:"text"`
	Turn          string   `json:"turn"`
	AfterSeq      int64    `json:"after_seq"`
	IncludeDeltas bool     `json:"include_deltas"`
	CancelAfter   int64    `json:"cancel_after"`
	BackoffMs     float64  `json:"backoff_ms"`
	SilenceMs     float64  `json:"silence_ms"`
	PatienceMs    float64  `json:"patience_ms"`
	TimeoutMs     *float64 `json:"timeout_ms"`
}

type result struct {
	Case      string    `json:"case"`
	Turn      string    `json:"turn"`
	Events    [][2]any  `json:"events"`
	Text      string    `json:"text"`
	Sha256    string    `json:"sha256"`
	Citations int       `json:"citations"`
	Terminal  string    `json:"terminal"`
	Error     *failure  `json:"error"`
	Places    []int     `json:"places"`
	PausesMs  []float64 `json:"pauses_ms"`
}

type failure struct {
	Reason       string      `json:"reason"`
	Message      string      `json:"message"`
	Fields       [][3]string `json:"fields"`
	RetryAfterMs *float64    `json:"retry_after_ms"`
	Turn         string      `json:"turn"`
	AfterSeq     int64       `json:"after_seq"`
}

func main() {
	lines := bufio.NewReader(os.Stdin)
	for {
		line, err := lines.ReadBytes('\n')
		if err != nil {
			return
		}
		var next order
		if err := json.Unmarshal(line, &next); err != nil {
			log.Fatal(err)
		}
		if err := json.NewEncoder(os.Stdout).Encode(play(next)); err != nil {
			log.Fatal(err)
		}
	}
}

func play(o order) result {
	tokens := o.Tokens
	token := func(context.Context) (string, error) {
		newest := tokens[0]
		if len(tokens) > 1 {
			tokens = tokens[1:]
		}
		return newest, nil
	}
	base := milliseconds(o.BackoffMs)
	client, err := responsa.New(responsa.Config{
		URL:      o.Address,
		Token:    token,
		Silence:  milliseconds(o.SilenceMs),
		Patience: milliseconds(o.PatienceMs),
		Backoff:  responsa.Backoff{Base: base, Cap: 1000 * base, Jitter: func() float64 { return 1 }},
	})
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()
	ctx := context.Background()
	if o.TimeoutMs != nil {
		limited, cancel := context.WithTimeout(ctx, milliseconds(*o.TimeoutMs))
		defer cancel()
		ctx = limited
	}
	stream := client.Resume(ctx, &chatv1.ResumeTurnRequest{Turn: o.Turn, AfterSeq: o.AfterSeq, IncludeDeltas: o.IncludeDeltas})
	if o.Start == "ask" {
		question := &chatv1.AskRequest{Text: o.Text, IncludeDeltas: o.IncludeDeltas}
		if o.Agent != "" {
			question.Agent = "agents/" + o.Agent
		}
		stream = client.Ask(ctx, question)
	}
	seen := result{Case: o.Case, Events: [][2]any{}, Places: []int{}, PausesMs: []float64{}}
	stream.OnNotice = func(notice responsa.Notice) {
		if notice.Reconnecting {
			seen.PausesMs = append(seen.PausesMs, float64(notice.Pause)/float64(time.Millisecond))
		} else {
			seen.Places = append(seen.Places, notice.QueuePlace)
		}
	}
	for event, err := range stream.Events() {
		if err == nil {
			seen.Events = append(seen.Events, [2]any{event.GetSeq(), kind(event)})
			if event.GetSeq() == o.CancelAfter {
				_, err = stream.Stop(ctx)
			}
		}
		if err != nil {
			seen.Error = described(err)
			break
		}
	}
	sum := sha256.Sum256([]byte(stream.Text()))
	seen.Turn, seen.Text, seen.Sha256 = stream.Turn(), stream.Text(), hex.EncodeToString(sum[:])
	seen.Citations, seen.Terminal = len(stream.Citations()), kind(stream.Terminal())
	return seen
}

func kind(event *chatv1.TurnEvent) string {
	message := event.ProtoReflect()
	if field := message.WhichOneof(message.Descriptor().Oneofs().ByName(protoreflect.Name("event"))); field != nil {
		return string(field.Name())
	}
	return ""
}

// described is the error as the kit reads it. The errors that the client itself makes have words of the kit.
func described(err error) *failure {
	var found *responsa.Error
	if !errors.As(err, &found) {
		log.Fatal(err)
	}
	made := &failure{Reason: found.Reason, Message: found.Message, Fields: [][3]string{}, Turn: found.Turn, AfterSeq: found.AfterSeq}
	words := map[error]string{
		responsa.ErrBroken:       "broken",
		responsa.ErrUnreachable:  "unreachable",
		responsa.ErrCut:          "cut",
		context.DeadlineExceeded: "deadline",
	}
	for cause, word := range words {
		if made.Reason == "" && errors.Is(err, cause) {
			made.Reason = word
		}
	}
	if made.Reason == "" {
		made.Reason = found.Code.String()
	}
	for _, violation := range found.Violations {
		made.Fields = append(made.Fields, [3]string{violation.Field, violation.Rule, violation.Description})
	}
	if found.RetryAfter >= 0 {
		after := float64(found.RetryAfter) / float64(time.Millisecond)
		made.RetryAfterMs = &after
	}
	return made
}

func milliseconds(count float64) time.Duration {
	return time.Duration(count * float64(time.Millisecond))
}
