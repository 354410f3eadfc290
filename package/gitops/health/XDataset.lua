-- Healthy: agents can be ordered on it. Degraded: the message says why not.
local hs = {status = "Progressing", message = "Waiting for the dataset watcher"}
if obj.metadata.deletionTimestamp ~= nil then
  hs.message = "The dataset is being removed"
  return hs
end
if obj.status ~= nil and obj.status.conditions ~= nil then
  for _, type in ipairs({"Ready", "Verified"}) do
    for _, c in ipairs(obj.status.conditions) do
      if c.type == type and c.status == "False" then
        return {status = "Degraded", message = c.message}
      end
      if c.type == "Ready" and c.status == "True" then
        hs = {status = "Healthy", message = c.message}
      end
    end
  end
end
return hs
