// Loads a document, searches it, and asks about it.
//
// Usage: RESPONSA_URL=http://127.0.0.1:8080 RESPONSA_API_KEY=… go run ./example
package main

import (
	"context"
	"fmt"
	"log"
	"os"
	"strings"

	responsa "responsa.example.org/client"
	chatv1 "responsa.example.org/contract/chat/v1"
	knowledgev1 "responsa.example.org/contract/knowledge/v1"
)

const (
	notes    = "# The office\n\nThe key of the bicycle shed hangs behind the green door.\n"
	question = "Where does the key of the bicycle shed hang?"
)

func main() {
	if err := run(context.Background()); err != nil {
		log.Fatal(err) // the error's reason and message
	}
}

func run(ctx context.Context) error {
	client, err := responsa.New(responsa.Config{URL: os.Getenv("RESPONSA_URL"), APIKey: os.Getenv("RESPONSA_API_KEY")})
	if err != nil {
		return err
	}
	defer client.Close()
	operation, err := client.Upload(ctx, strings.NewReader(notes), &knowledgev1.DocumentMetadata{SourceKey: "office.md"})
	if err != nil {
		return err
	}
	if _, err := client.Wait(ctx, operation); err != nil {
		return err
	}
	found, err := client.Knowledge.Search(ctx, &knowledgev1.SearchRequest{Terms: []string{"bicycle shed"}})
	if err != nil {
		return err
	}
	for _, hit := range found.GetHits() {
		fmt.Printf("%.2f %s\n", hit.GetScore(), hit.GetPassage().GetTitle())
	}
	stream := client.Ask(ctx, &chatv1.AskRequest{Text: question, IncludeDeltas: true})
	for event, err := range stream.Events() {
		if err != nil {
			return err
		}
		fmt.Print(event.GetDelta().GetText())
	}
	fmt.Println()
	for _, citation := range stream.Citations() {
		fmt.Println(citation.GetTitle(), citation.GetQuote())
	}
	return responsa.TurnError(stream.Terminal())
}
