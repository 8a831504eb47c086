-- Turns the sentences with which the transcoder refuses a request into errors that name the field and the remedy, as the server's own errors do.
--
-- The reply of envoy_config's table arrives here with the header MARK and with the transcoder's sentence as its message. The sentence is escaped for JSON, and
-- so is each piece of it that this script passes on. envoy_config.py writes the table REMEDIES above this text: the remedy for each type of the contract.
local MARK = "x-responsa-transcoder"
local DETAIL = '{"@type":"type.googleapis.com/google.rpc.'

-- The field, the rule and the description of a violation; nil if the sentence is not about a field.
local function violation(said)
  local field, kind = said:match("^([%w_.%[%]]+): invalid value .* for type (%S+)$")
  if field then
    -- The index is always 0, whichever entry of the list is wrong.
    return (field:gsub("%[%d+%]", "")), "field.type", REMEDIES[kind:gsub("^type%.googleapis%.com/", "")] or "does not have this field's type"
  end
  field = said:match("Cannot set '([%w_]+)' for type oneof$")
  if field then
    return field, "field.twice", "is given twice, or next to a field that excludes it; give one of them once"
  end
  field, kind = said:match('^Could not find field \\"([%w_.-]+)\\" in the type \\"([%w_.]+)\\"')
  if field then
    return field:sub(1, 64), "unknown_parameter", "there is no such parameter; the parameters are the fields of " .. kind .. " that the path does not contain"
  end
  field = said:match("^([%w_.]*): Proto field is not repeating, cannot start list%.$")
  if field then
    return field, "field.list", "has a list in a field of a single value; send the value without the list"
  end
end

-- The message for a body that is not JSON; nil if the sentence says nothing that a caller could use.
local function malformed(said)
  if said == ": Root element must be a message." then return "The body must be a JSON object." end
  -- The next lines repeat a part of the body.
  local reason = said:gsub("\\n.*$", "")
  if reason:find("^%u[%w ,.'-]+$") then return "The body must be JSON in UTF-8: " .. reason:gsub("%.?$", ".", 1) end
end

function envoy_on_response(handle)
  if not handle:headers():get(MARK) then return end
  handle:headers():remove(MARK)
  local body = handle:body()
  local text = body:getBytes(0, body:length())
  local said = text:match('"message":"(.*)"}%s*$')
  if not said then return end
  local field, rule, description = violation(said)
  if field then
    local subject = field == "" and "the request" or field
    text = '{"code":3,"message":"' .. subject .. ": " .. description .. '","details":['
      .. DETAIL .. 'ErrorInfo","reason":"INVALID_FIELD","domain":"responsa","metadata":{"violations":"1"}},'
      .. DETAIL .. 'BadRequest","fieldViolations":[{"field":"' .. field .. '","description":"' .. description .. '","reason":"' .. rule .. '"}]}]}'
  else
    text = '{"code":3,"message":"' .. (malformed(said) or UNREADABLE) .. '","details":['
      .. DETAIL .. 'ErrorInfo","reason":"MALFORMED_MESSAGE","domain":"responsa","metadata":{"message_type":"application/json"}}]}'
  end
  handle:headers():replace("content-length", tostring(body:setBytes(text)))
end
