package dev

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
)

// askReady asks /health/ready. The error says what is still missing.
func (s *sidecar) askReady(ctx context.Context, client *http.Client, members int) (bool, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.httpURL()+"/health/ready", nil)
	if err != nil {
		return false, fmt.Errorf("ask for health: %w", err)
	}
	resp, err := client.Do(req)
	if err != nil {
		return false, fmt.Errorf("ask for health: %w", err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if err != nil {
		return false, fmt.Errorf("read health: %w", err)
	}
	var health struct {
		Cache   struct{ Status string }
		Cluster struct{ Members []string }
	}
	if err := json.Unmarshal(body, &health); err != nil {
		return false, fmt.Errorf("read health: %w", err)
	}
	report := strings.TrimSpace(string(body))
	if resp.StatusCode != http.StatusOK {
		return false, fmt.Errorf("its health is %s", report)
	}
	if health.Cache.Status != "off" && len(health.Cluster.Members) < members {
		return false, fmt.Errorf("it does not see all %d members: %s", members, report)
	}
	return true, nil
}
